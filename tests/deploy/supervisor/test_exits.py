"""The end of real processes is seen, by pidfd and by looking, for children and for others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from deploy.supervisor.exits import Exits
from deploy.supervisor.layout import Layout
from deploy.supervisor.proc import start_time
from deploy.supervisor.process import Processes

WAYS = {"pidfd": getattr(os, "pidfd_open", None), "polling": None}


@pytest.fixture(params=WAYS)
def pidfd_open(request: pytest.FixtureRequest) -> Callable[[int], int] | None:
    return WAYS[request.param]


async def test_the_end_of_a_child_is_told_once(pidfd_open: Callable[[int], int] | None) -> None:
    """Before it is reaped, so that its exit code can be had."""
    told: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    exits = Exits(
        asyncio.get_running_loop(), lambda *who: told.put_nowait(who), pidfd_open=pidfd_open
    )
    with subprocess.Popen(["sleep", "100"]) as child:  # noqa: ASYNC220 (as the supervisor does)
        start = start_time(child.pid) or 0
        exits.add(child.pid, start)
        await asyncio.sleep(0.1)
        assert told.empty()
        child.send_signal(signal.SIGTERM)
        assert (child.pid, start) == await asyncio.wait_for(told.get(), 20)
        assert -signal.SIGTERM == child.wait()
    await asyncio.sleep(0.1)
    assert told.empty()
    exits.close()


async def test_who_has_ended_before_is_told_too(pidfd_open: Callable[[int], int] | None) -> None:
    """Also when the number is another process's by now."""
    told: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    exits = Exits(
        asyncio.get_running_loop(), lambda *who: told.put_nowait(who), pidfd_open=pidfd_open
    )
    exits.add(os.getpid(), 1)  # our number, not our start time
    assert (os.getpid(), 1) == await asyncio.wait_for(told.get(), 20)
    exits.close()


def test_a_process_that_is_not_a_child_has_no_exit_code() -> None:
    """And its number is not signalled when it is another's by now."""
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as other:
        processes = Processes(Layout("/nowhere"))
        assert processes.finish(1, 1) is None
        assert other.poll() is None
        other.kill()
