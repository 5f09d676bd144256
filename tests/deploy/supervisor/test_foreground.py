"""The supervisor inside the calling process: the same units, the same rules, no socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.profile import Profile
from deploy.supervisor.foreground import (
    AlreadyRunning,
    Event,
    Foreground,
    LogLine,
    StateChanged,
)
from deploy.unit import RestartPolicy, Unit
from tests.deploy.supervisor.machine import PATIENCE, POLITE, Machine, alive, until

PROGRAM = """
import asyncio, json, sys
from deploy.profile import Profile
from deploy.supervisor.foreground import Foreground

async def main():
    async with Foreground(sys.argv[1], lambda event: None) as units:
        units.activate(Profile.from_json(json.loads(sys.argv[2])))
        print(json.dumps([state["pid"] for state in units.states()]), flush=True)
        await units.finished()

asyncio.run(main())
"""


async def eventually(question: Callable[[], bool]) -> None:
    """Returns when it is true; fails after a while."""
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE:g} s"
        await asyncio.sleep(0.01)


async def test_it_runs_units_tells_what_they_say_and_ends_when_they_do(machine: Machine) -> None:
    """Lines come in order, and before the news that their unit has ended."""
    events: list[Event] = []
    async with Foreground(str(machine.layout.root), events.append) as units:
        profile = machine.profile(
            machine.unit("a", "print('one'); print('two'); raise SystemExit(4)"),
            machine.unit("b", "print('three', end='')"),
        )
        assert ("a", "b") == units.activate(profile).started
        await asyncio.wait_for(units.finished(), PATIENCE)
        assert [("failed", {"code": 4}), ("ended", {"code": 0})] == [
            (state["state"], state["exit"]) for state in units.states()
        ]
    of_a = [
        event.line if isinstance(event, LogLine) else event.state["state"]
        for event in events
        if (event.unit if isinstance(event, LogLine) else event.state["name"]) == "a"
    ]
    assert ["running", "one", "two", "failed"] == of_a[:4]
    assert LogLine("b", "three") in events
    assert not machine.layout.run.exists()


async def test_stop_asks_and_tells_how_each_unit_left(machine: Machine) -> None:
    """The last record of a unit that was stopped holds its exit."""
    events: list[Event] = []
    async with Foreground(str(machine.layout.root), events.append) as units:
        polite = machine.unit("a", POLITE + "raise SystemExit(5)")
        units.activate(machine.profile(polite))
        await eventually(lambda: LogLine("a", "up") in events)
        await units.stop()
    last = [event.state for event in events if isinstance(event, StateChanged)][-1]
    assert ("gone", {"code": 5}) == (last["state"], last["exit"])


async def test_units_restart_by_their_policy_and_can_be_killed(machine: Machine) -> None:
    """The same state machine as the detached supervisor's."""
    async with Foreground(str(machine.layout.root), lambda event: None) as units:
        units.activate(
            machine.profile(machine.sleeper("a", restart=RestartPolicy("always", max_restarts=1)))
        )
        first = units.states()[0]["pid"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: units.states()[0]["pid"] not in (None, first))
        units.kill()
        await asyncio.wait_for(units.finished(), PATIENCE)
        assert "given up after 1 restarts" in units.states()[0]["error"]


def test_units_die_with_a_killed_caller(machine: Machine) -> None:
    """kill -9 of the process that runs them leaves none of them."""
    profile = machine.profile(machine.sleeper("a"), machine.sleeper("b", cores=(0,)))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(machine.layout.root), _text(profile)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())
        assert 2 == len(pids)
        process.kill()  # some units may be on their way to becoming mortal still
    until(lambda: not any(alive(pid) for pid in pids), "the end of the units")


def _text(profile: Profile) -> str:
    return json.dumps(profile.to_json())


async def test_two_supervisors_do_not_work_on_one_root(machine: Machine) -> None:
    """The second is told; the first goes on."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    with pytest.raises(AlreadyRunning):
        async with Foreground(str(machine.layout.root), lambda event: None):
            pass
    machine.wait("a", "running")


async def test_it_leaves_units_with_documents_and_without_traces(machine: Machine) -> None:
    """Documents are there while it runs."""
    unit = Unit(name="a", argv=("sleep", "100"), cwd=str(machine.folder / "cwd"))
    profile = Profile("flow", "here", (unit,), {"dataflow.json": "{}"})
    async with Foreground(str(machine.layout.root), lambda event: None) as units:
        units.activate(profile)
        path = machine.layout.documents("flow") / "dataflow.json"
        assert "{}" == path.read_text()
    assert not path.exists()
