"""What the command line says is decided by pure functions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy import events
from deploy.errors import (
    ConnectionFailed,
    DeployError,
    InventoryError,
    Issue,
    LockHeld,
    MachineError,
    Refused,
)
from deploy.inventory import Machine
from deploy.undertaking import MachineResult
from dora.cli.exits import Exit, exit_code
from dora.cli.progress import describe, human_bytes
from dora.cli.results import exit_of_deployed
from dora.cli.status import cores_text
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import Deployed
from dora.coordinator.doctor.fitness import facts_findings
from dora.errors import DataflowError, DoraError, PlacementError
from tests.dora.compile.test_dataplane import facts

ROVER = Machine("rover", "rover.local")
ISSUE = Issue("flow.yml", 1, 1, "wrong")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InventoryError([ISSUE]), 3),
        (DataflowError([ISSUE]), 3),
        (PlacementError([ISSUE]), 3),
        (ConnectionFailed("a", "refused", "nobody listens"), 4),
        (LockHeld("a", "flow", "ann@lab", 0.0), 6),
        (Refused("a", "stale", "moved on"), 6),
        (Refused("a", "io", "the disk is full"), 1),
        (MachineError("a", "broken"), 1),
        (DeployError("broken"), 1),
        (DoraError("broken"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    """As `dora --help` lists them."""
    assert Exit(code) == exit_code(error)


def test_a_plan_that_was_overtaken_on_a_machine_is_a_conflict() -> None:
    """Somebody else switched it between our look and our switch: deploying again will do."""
    overtaken = MachineResult("a", "failed", error=Refused("a", "stale", "moved on"))
    broken = MachineResult("b", "failed", error=Refused("b", "io", "the disk is full"))

    assert Exit.CONFLICT == exit_of_deployed(Contact(), Deployed("flow", (overtaken,)))
    assert Exit.FAILED == exit_of_deployed(Contact(), Deployed("flow", (broken,)))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (334_700_000, "334.7 MB"), (2e9, "2.0 GB")],
)
def test_sizes_are_for_people(size: float, text: str) -> None:
    """Powers of ten, as disks are sold."""
    assert text == human_bytes(size)


@pytest.mark.parametrize(
    ("cores", "text"), [((), ""), ((0,), "0"), ((0, 1), "0-1"), ((5, 2, 3, 4, 7), "2-5,7")]
)
def test_cores_are_told_as_taskset_takes_them(cores: tuple[int, ...], text: str) -> None:
    """Runs are joined."""
    assert text == cores_text(cores)


def test_an_unreachable_machine_comes_with_the_next_step() -> None:
    """Cause and remedy, in one event."""
    error = ConnectionFailed("rover", "refused", "nothing listens", hint="ssh -v rover")
    said = describe(events.Unreachable("rover", error), verbose=False)

    assert said is not None
    assert "rover: unreachable:" in said
    assert "nothing listens" in said
    assert "ssh -v rover" in said


def test_text_from_machines_is_not_taken_for_markup() -> None:
    """A node may die with `[/red]` on its lips."""
    state = {"name": "a", "state": "failed", "error": "[/red] boom", "exit": None}
    said = describe(events.UnitChanged("rover", state), verbose=False)

    assert said is not None
    assert r"\[/red] boom" in said


def test_what_is_not_worth_a_line_says_nothing() -> None:
    """Unless somebody wants more."""
    assert describe(events.Connected("rover", 0.1), verbose=False) is None
    assert describe(events.Connected("rover", 0.1), verbose=True) is not None
    assert describe(events.Copied("rover", 0, 0.1), verbose=False) is None


def test_a_fit_machine_has_no_findings() -> None:
    """Room, Python and taskset are there."""
    assert () == facts_findings(ROVER, replace(facts("a"), disk_free=10**10))


def test_each_finding_has_its_remedy() -> None:
    """Python too old, no taskset: fatal; little room: not."""
    bare = replace(facts("a"), python_version=(3, 8, 2), taskset=False, disk_free=10**8)
    found = facts_findings(ROVER, bare)

    assert [True, True, False] == [finding.fatal for finding in found]
    assert all(finding.remedy for finding in found)
    assert "3.8.2" in found[0].problem


def test_nodes_that_bring_their_python_need_none_there() -> None:
    """An old one is enough for the supervisor."""
    old = replace(facts("a"), python_version=(3, 8, 2), disk_free=10**10)

    assert () == facts_findings(replace(ROVER, python="python-3.12.tar.gz"), old)
