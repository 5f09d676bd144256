"""Tells of saved files as they come to rest. Laptop only; the home of watchfiles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from watchfiles import Change, awatch

from dora.coordinator.changes import Concerned, Happened, Saves

STEP = 10  # milliseconds in which changes of the disk are gathered

HAPPENED = {
    Change.added: Happened.ADDED,
    Change.modified: Happened.MODIFIED,
    Change.deleted: Happened.REMOVED,
}


async def saves(of: Callable[[], Concerned]) -> AsyncIterator[frozenset[Path]]:
    """The files that ask for a new deployment, each time that they have come to rest, until
    cancelled. `of` is asked each time: another deployment may concern other files. None of them is
    what it gives first: from then on nothing is missed."""
    while True:
        roots = of().roots
        pending = Saves()
        changed: set[Path] = set()
        stop = asyncio.Event()
        watcher = awatch(
            *roots, watch_filter=None, step=STEP, debounce=10 * STEP, stop_event=stop,
            rust_timeout=1000, yield_on_timeout=True, ignore_permission_denied=True,
        )  # fmt: skip
        following = aiter(watcher)
        waiting = asyncio.ensure_future(anext(following))
        try:
            await asyncio.sleep(0)  # it watches from its first step on
            yield frozenset()
            while of().roots == roots:
                await asyncio.wait({waiting}, timeout=pending.due(time.monotonic()))
                if waiting.done():
                    for change, name in waiting.result():
                        if of().asks(Path(name), HAPPENED[change]):
                            changed.add(Path(name))
                            pending.changed(time.monotonic())
                    waiting = asyncio.ensure_future(anext(following))
                if pending.due(time.monotonic()) == 0:
                    pending.taken()
                    found, changed = frozenset(changed), set()
                    yield found
        finally:
            stop.set()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
