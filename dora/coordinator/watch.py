"""Keeps an SSH connection to each machine open and tells what happens there. Laptop only.

The coordinator holds no truth: when a link comes back, the machine's supervisor says what is so.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from dataclasses import dataclass
from typing import Any

from deploy.connection.base import Connector
from deploy.errors import MachineError, Refused
from deploy.events import Emit, LinkBack, LinkLost, UnitChanged
from deploy.inventory import Machine
from deploy.session import Session

SILENCE = 4.0  # seconds without a heartbeat (there is one each second) until a link counts as lost
GONE = "gone"  # the state of a unit that is none any more
NO_LOGS = 2.0  # seconds until a machine on which nothing of the deployment ever ran is asked again


@dataclass(frozen=True)
class Line:
    """A line that a unit printed."""

    machine: str
    unit: str
    text: str
    time: float = 0.0  # seconds since the epoch, by the machine's clock
    level: str = "stdout"


def pauses(
    first: float = 0.5, most: float = 15.0, jitter: Callable[[], float] = random.random
) -> Iterator[float]:
    """Seconds to wait before each next try: doubling, and spread so that many do not try at once
    (half of the pause is random)."""
    pause = first
    while True:
        yield pause * (0.5 + 0.5 * jitter())
        pause = min(pause * 2, most)


class Told:
    """What was told of a machine's units, so that what is new can be; and when it was heard last.

    `silent`: who watches has seen what is so at the beginning, elsewhere.
    """

    heard: float | None = None  # seconds since the epoch

    def __init__(self, *, silent: bool) -> None:
        self._units: dict[str, Mapping[str, Any]] = {}
        self._silent = silent

    def all(self, states: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those that are new in a list of all; what happened while nobody saw it, too."""
        states = list(states)
        names = {state["name"] for state in states}
        left = [it for name, it in self._units.items() if name not in names]
        news = self.some([*states, *({**it, "state": GONE, "pid": None} for it in left)])
        silent, self._silent = self._silent, False
        return [] if silent else news

    def some(self, states: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those that are new in a list of some."""
        news = [it for it in states if _looks(self._units.get(it["name"])) != _looks(it)]
        self._units.update({state["name"]: state for state in news})
        return news


def _looks(state: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    return None if state is None else (state["state"], state.get("pid"))


async def watch(
    deployment: str,
    sessions: MutableMapping[str, Session],
    machines: Mapping[str, Machine],
    connector: Connector,
    emit: Emit,
    on_line: Callable[[Line], None],
    beside: Callable[[Session], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Runs until cancelled. `beside` runs with each session, and ends its link by a MachineError.
    `sessions` are used as long as they live, then replaced, there too;
    machines without one are tried again and again. What changed while a link was lost is told
    when it is back, as are all units of a machine that had none at the beginning."""
    async with asyncio.TaskGroup() as group:
        for machine in machines.values():
            group.create_task(
                _watch_machine(deployment, machine, sessions, connector, emit, on_line, beside)
            )


async def _watch_machine(
    deployment: str,
    machine: Machine,
    sessions: MutableMapping[str, Session],
    connector: Connector,
    emit: Emit,
    on_line: Callable[[Line], None],
    beside: Callable[[Session], Coroutine[Any, Any, None]] | None,
) -> None:
    session = sessions.get(machine.id)
    lost: float | None = None if session else time.time()
    told = Told(silent=session is not None)
    tail = 0  # the first time, what was printed before we came is not ours to show
    waits = pauses()
    while True:
        try:
            if session is None:
                session = await Session.open(connector, machine)
                await session.start_supervisor()
                sessions[machine.id] = session
            if lost is not None:
                emit(LinkBack(machine.id, time.time() - lost))
                lost = None
            async with asyncio.TaskGroup() as group:
                group.create_task(_states(session, deployment, told, emit))
                group.create_task(_lines(session, deployment, tail, on_line))
                if beside is not None:
                    group.create_task(beside(session))
        except* MachineError as errors:
            if lost is None:
                lost = told.heard or time.time()
                emit(LinkLost(machine.id, lost, _first(errors)))
                waits = pauses()
        if session is not None:
            sessions.pop(machine.id, None)
            await session.close()
            session = None
        await asyncio.sleep(next(waits))


def _first(errors: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.reason if isinstance(error, MachineError) else str(error)


async def _states(session: Session, deployment: str, told: Told, emit: Emit) -> None:
    """Raises MachineError when the link is silent for too long, or ends."""
    news = told.all  # the first row has all units: the truth after a link was lost
    rows = session.stream("watch", deployment=deployment)
    try:
        while True:
            try:
                # Not `wait_for`: Python 3.11's takes a result that comes at the same moment for
                # more important than being cancelled, and then nobody could end us any more.
                async with asyncio.timeout(SILENCE):
                    row = await anext(rows)
            except TimeoutError:
                raise MachineError(session.machine.id, f"silent for {SILENCE:.0f} s") from None
            except StopAsyncIteration:
                raise MachineError(session.machine.id, "its supervisor ended") from None
            told.heard = time.time()
            if "units" in row:
                for state in news(row["units"]):
                    emit(UnitChanged(session.machine.id, state))
                news = told.some
    finally:
        await rows.aclose()


async def _lines(
    session: Session, deployment: str, tail: int, on_line: Callable[[Line], None]
) -> None:
    while True:
        try:
            async for line in follow(session, deployment, tail=tail):
                on_line(line)
        except Refused as refused:
            if refused.code != "unknown":
                raise
            await asyncio.sleep(NO_LOGS)  # nothing of it ran there; the link is fine
        else:
            raise MachineError(session.machine.id, "its supervisor ended")


async def follow(
    session: Session, deployment: str, *, tail: int, units: tuple[str, ...] = (), more: bool = True
) -> AsyncGenerator[Line, None]:
    """The last `tail` lines of each unit, and with `more` those to come. Raises MachineError."""
    rows = log_rows(session, deployment, {"tail": tail}, units, more=more)
    async for line in rows:
        if line is not None:
            yield line


async def log_rows(
    session: Session,
    deployment: str,
    which: Mapping[str, Any],
    units: tuple[str, ...] = (),
    *,
    more: bool,
) -> AsyncGenerator[Line | None, None]:
    """Lines that were printed, as `which` selects them (`tail`, `since`, `ago`, `level`), then
    None, then with `more` those to come. Raises MachineError."""
    fields: dict[str, Any] = {"deployment": deployment, "follow": more, **which}
    if units:
        fields["units"] = list(units)
    async for row in session.stream("logs", **fields):
        if "line" in row:
            time, level = float(row.get("time", 0.0)), str(row.get("level", "stdout"))
            yield Line(session.machine.id, str(row["unit"]), str(row["line"]), time, level)
        elif "live" in row or "end" in row:
            yield None
