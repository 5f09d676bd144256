"""Health commands of units on trial: what is run when is decided by history alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploy.supervisor.confirmation import Pending
from deploy.supervisor.health import Health, Kill, Run, Verdict
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot, State
from deploy.unit import HealthCommand, Unit

FIRST = HealthCommand(("./look", "--closely"), "look --closely")
SECOND = HealthCommand(("./listen",), "listen")
UNIT = Unit("a", ("run",), "/", health=(FIRST, SECOND))
TRIAL = Pending(number=2, previous=1, boot_id="b", deadline=60.0, wall=1060.0)
KEY = Key("flow", "a")


def slot(**changes: Any) -> Slot:
    """A unit of generation 2 that is ready."""
    values: dict[str, Any] = {
        "key": KEY,
        "since": 1.0,
        "wanted": UNIT,
        "actual": UNIT,
        "generation": 2,
        "state": State.RUNNING,
        "pid": 7,
        "born": 1.0,
        "ready": True,
    }
    return Slot(**{**values, **changes})


def run(command: HealthCommand) -> Run:
    return Run(KEY, UNIT, command)


def test_commands_run_one_after_the_other_once_the_unit_is_ready() -> None:
    """When the last one has ended well, it has passed."""
    health = Health()
    assert [] == health.update([slot(state=State.STARTING)], {"flow": TRIAL})
    assert [run(FIRST)] == health.update([slot()], {"flow": TRIAL})
    assert [] == health.update([slot()], {"flow": TRIAL})
    assert "has not finished its health command `look --closely`" == health.checks[KEY].error
    assert [run(SECOND)] == health.ended(KEY, None)
    assert [] == health.ended(KEY, None)
    assert (Verdict.PASSED, None) == (health.checks[KEY].verdict, health.checks[KEY].error)
    assert [] == health.update([slot()], {"flow": TRIAL})


def test_the_first_that_fails_ends_the_check() -> None:
    """With its reason and its last words."""
    health = Health()
    health.update([slot()], {"flow": TRIAL})
    assert [] == health.ended(KEY, "exited with code 3", ["no map"])
    expected = {
        "state": "failed",
        "error": "failed its health command `look --closely`: exited with code 3",
        "last_lines": ["no map"],
    }
    assert expected == health.checks[KEY].to_json()
    assert [] == health.update([slot()], {"flow": TRIAL})


def test_nothing_is_run_without_a_trial_or_for_another_generation() -> None:
    """Nor for a unit that has no commands."""
    plain = replace(UNIT, health=())
    health = Health()
    assert [] == health.update([slot()], {})
    assert [] == health.update([slot()], {"other": TRIAL})
    assert [] == health.update([slot(generation=1)], {"flow": TRIAL})
    assert [] == health.update([slot(wanted=plain, actual=plain)], {"flow": TRIAL})


def test_all_units_of_the_deployment_are_ready_first() -> None:
    """One may need what another does; one that leaves need not be ready."""
    health = Health()
    other = slot(key=Key("flow", "b"), state=State.STARTING)
    assert [] == health.update([slot(), other], {"flow": TRIAL})
    leaving = replace(other, wanted=None)
    assert [run(FIRST)] == health.update([slot(), leaving], {"flow": TRIAL})


def test_a_unit_that_ended_as_it_should_is_checked_too() -> None:
    """What it was to do can be looked at; one that failed cannot."""
    done = slot(state=State.ENDED, pid=None, ready=False, exit=Exit(code=0))
    assert [run(FIRST)] == Health().update([done], {"flow": TRIAL})
    failed = slot(state=State.ENDED, pid=None, ready=False, exit=Exit())
    assert [] == Health().update([failed], {"flow": TRIAL})


def test_a_unit_that_was_started_anew_is_checked_anew() -> None:
    """Its check dies with its process."""
    health = Health()
    health.update([slot()], {"flow": TRIAL})
    down = slot(state=State.BACKOFF, pid=None, ready=False)
    assert [Kill(KEY)] == health.update([down], {"flow": TRIAL})
    assert [run(FIRST)] == health.update([slot(born=5.0)], {"flow": TRIAL})


def test_a_trial_that_is_over_ends_its_checks() -> None:
    """Confirmed or gone back from; those that had ended need no killing."""
    health = Health()
    health.update([slot()], {"flow": TRIAL})
    assert [Kill(KEY)] == health.update([slot()], {})
    health.update([slot()], {"flow": TRIAL})
    health.ended(KEY, "exited with code 3")
    assert [] == health.update([slot()], {})
    assert {} == health.checks


def test_a_trial_that_was_renewed_is_checked_anew() -> None:
    """Somebody deployed the same once more before it was confirmed."""
    health = Health()
    health.update([slot()], {"flow": TRIAL})
    health.ended(KEY, "exited with code 3")
    assert [run(FIRST)] == health.update([slot()], {"flow": replace(TRIAL, deadline=90.0)})
