"""The loop of a runtime from its first `async` operator on. Node (>= 3.10).

Apart from the host, so that runtimes without such operators do not load asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from dora.runtime.task import Task
from dora.status import DoraStatus

Answer = tuple[DoraStatus | None, BaseException | None]


class Loop(Protocol):
    """The host, as far as it is needed here."""

    def turn(self) -> bool: ...
    def is_over(self, busy: bool) -> bool: ...
    def timeout(self) -> float | None: ...
    def fileno(self) -> int: ...
    def woken(self) -> None: ...
    def take_awaited(self) -> list[tuple[Task, Awaitable[DoraStatus]]]: ...
    def returned(
        self, task: Task, status: DoraStatus | None, error: BaseException | None
    ) -> None: ...


def serve(host: Loop) -> None:
    """Until all is over. What operators await goes on beside their neighbours' calls."""
    asyncio.run(_serve(host))


async def _serve(host: Loop) -> None:
    something = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(host.fileno(), something.set)
    try:
        while True:
            something.clear()
            busy = host.turn()
            awaited = host.take_awaited()
            for task, call in awaited:
                future = asyncio.ensure_future(_contained(call))
                future.add_done_callback(partial(_answered, host, something, task))
            if host.is_over(busy or bool(awaited)):
                return
            if busy or awaited:
                await asyncio.sleep(0)
            else:
                await _wait_for(something, host.timeout())
                host.woken()
    finally:
        loop.remove_reader(host.fileno())


def _answered(
    host: Loop, something: asyncio.Event, task: Task, future: asyncio.Future[Answer]
) -> None:
    if not future.cancelled():  # as it is when we leave
        host.returned(task, *future.result())
        something.set()


async def _contained(call: Awaitable[DoraStatus]) -> Answer:
    """asyncio would end with a SystemExit."""
    try:
        return await call, None
    except (Exception, SystemExit) as error:
        return None, error


async def _wait_for(something: asyncio.Event, seconds: float | None) -> None:
    try:
        await asyncio.wait_for(something.wait(), seconds)
    except asyncio.TimeoutError:  # noqa: UP041  # another class before 3.11
        pass  # the caller looks what is due
