"""What must hold after an interruption. Each check raises AssertionError with what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.store.verify import verify
from deploy.supervisor.deployments import Unreadable
from tests.interruptions.robot import Disk, Robot, Task

PATIENCE = 60.0  # seconds


def eventually(find: Callable[[], list[str]], what: str) -> None:
    """Looks until `find` has nothing to complain about."""
    end = time.monotonic() + PATIENCE
    while complaints := find():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: " + "; ".join(complaints))
        time.sleep(0.05)


def old_or_new(robot: Robot, before: Disk) -> None:
    """At any moment: what is current is whole, and it is what was or what was just made."""
    try:
        disk, generation = robot.disk(), robot.generation()
    except Unreadable as error:
        raise AssertionError(f"{robot.name}: {error}") from error
    if disk.current is None:
        assert before.current is None, f"{robot.name}: nothing is current, after {before}"
    else:
        assert generation is not None, f"{robot.name}: {disk.current} is current and not there"
        assert disk.current == before.current or disk.current > before.newest, (
            f"{robot.name}: generation {disk.current} is current, after {before}"
        )
        missing = robot.store_lacks(generation.profile.closure)
        assert not missing, f"{robot.name}: {missing} lack in the store"
    for unit, tasks in robot.units().items():
        assert len(tasks) == 1, f"{robot.name}: {unit} runs twice: {tasks}"


def runs_its_generation(robot: Robot) -> list[str]:
    """Where a supervisor is at work: the units of the current generation, each once, and nothing
    else (but what serves the laptop)."""
    generation = robot.generation()
    wanted = {it.name: it.fingerprint for it in generation.profile.units} if generation else {}
    tasks = robot.tasks()
    leaders = [task for task in tasks if task.unit and task.leads]
    found = sorted((task.unit, task.fingerprint) for task in leaders)
    complaints = []
    on_trial = robot.disk().pending is not None  # its units may have failed
    if found != sorted(wanted.items()) and not (on_trial and set(found) <= set(wanted.items())):
        complaints.append(f"{robot.name}: {_short(found)} run, not {_short(wanted.items())}")
    strays = [it for it in tasks if not (it.unit or it.is_supervisor or it.is_sshd)]
    complaints += [f"{robot.name}: {it.command[-200:]!r} is left" for it in strays]
    supervisors = [task for task in tasks if task.is_supervisor]
    if wanted and len(supervisors) != 1:
        complaints.append(f"{robot.name}: {len(supervisors)} supervisors")
    return complaints


def settled(robot: Robot) -> list[str]:
    """No trial goes on."""
    disk = robot.disk()
    return [f"{robot.name}: still on trial: {disk}"] if disk.pending is not None else []


def told_the_truth(
    result: Mapping[str, Any], robots: Sequence[Robot], before: Sequence[Disk]
) -> None:
    """The JSON of `deploy` or `rollback`, right after it ended, beside the disks."""
    rows = {row["machine"]: row for row in result["machines"]}
    for robot, was in zip(robots, before, strict=True):
        row, disk = rows[robot.name], robot.disk()
        shown = f"{row} beside {disk}"
        if disk.pending is not None:
            assert row["outcome"] in ("unconfirmed", "unreachable"), shown
        match row["outcome"]:
            case "deployed" | "unchanged":
                assert disk.pending is None, shown
                assert disk.current == disk.booted == row["generation"], shown
            case "rolled_back":
                assert disk.pending is None, shown
                assert disk.current == row["generation"], shown
            case "unconfirmed":
                assert row["back_at"], shown
                assert robot.supervised, f"nobody keeps the time: {shown}"
            case "failed" | "unreachable":
                assert disk.current == was.current, shown
            case other:
                raise AssertionError(f"unknown outcome {other!r}")


def sound(robot: Robot) -> None:
    """Every file of the store is what its name says."""
    found = verify(robot.store, lambda count: None)
    assert found.sound, f"{robot.name}: {found}"


def nothing_unneeded(robot: Robot) -> list[str]:
    """After a collection."""
    return [f"{robot.name}: {path} is not needed" for path in robot.leftovers()]


def same_processes(before: Mapping[str, list[Task]], now: Mapping[str, list[Task]]) -> None:
    """Units whose code is the same in all versions keep their process."""
    for unit in before:
        if unit.startswith(("steady", "dora-router")):
            assert [it.pid for it in before[unit]] == [it.pid for it in now.get(unit, ())], unit


def _short(units: Any) -> list[str]:
    return [f"{name} {fingerprint[:6]}" for name, fingerprint in sorted(units)]
