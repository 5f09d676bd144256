"""Waiting for a file descriptor inside an asyncio program. Node (>= 3.10).

Apart from the node, so that programs without asyncio do not load it.
"""

from __future__ import annotations

import asyncio


async def let_others_run() -> None:
    """A node that is flooded must not starve the other tasks."""
    await asyncio.sleep(0)


async def readable(fd: int, seconds: float | None) -> None:
    """Until `fd` is readable, at most `seconds`."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), seconds)
    except asyncio.TimeoutError:  # noqa: UP041  # another class before 3.11
        pass  # the caller looks what is due
    finally:
        loop.remove_reader(fd)
