"""Trials of generations by histories: what is on the disk, and a clock of our own."""

from __future__ import annotations

import pytest

from deploy.supervisor.confirmation import (
    AGAIN,
    GoBack,
    Moment,
    Pending,
    Settled,
    Wait,
    begin,
    decide,
)

BOOT = Moment("boot-1", 100.0, 5000.0)


def later(seconds: float, *, boot: str = "boot-1", clock_set_by: float = 0.0) -> Moment:
    return Moment(boot, BOOT.uptime + seconds, BOOT.wall + seconds + clock_set_by)


def test_a_trial_knows_what_it_would_go_back_to_and_when() -> None:
    """The generation before, at the end of the time, by both clocks."""
    trial = begin(4, 30, BOOT, current=3, before=None)
    assert Pending(4, 3, "boot-1", 130.0, 5030.0) == trial
    assert trial == Pending.from_json(trial.to_json())


def test_the_first_trial_goes_back_to_nothing() -> None:
    """Nothing ran before."""
    assert begin(1, 30, BOOT, current=None, before=None).previous is None


def test_a_trial_after_a_trial_goes_back_to_what_was_confirmed() -> None:
    """What nobody confirmed is no place to go back to."""
    first = begin(4, 30, BOOT, current=3, before=None)
    assert 3 == begin(5, 30, later(10), current=4, before=first).previous


def test_it_waits_until_the_deadline_and_then_goes_back() -> None:
    """Not a moment earlier; whoever sets the machine's clock changes nothing."""
    trial = begin(4, 30, BOOT, current=3, before=None)
    decisions = [
        decide(trial, now, current=4, booted=3)
        for now in (BOOT, later(29), later(29, clock_set_by=1e6), later(30), later(5000))
    ]
    back = GoBack("it was not confirmed in time")
    assert [Wait(30.0), Wait(1.0), Wait(1.0), back, back] == decisions


def test_it_does_not_end_while_somebody_else_has_the_lock() -> None:
    """Only its time is held up: after a reboot it goes back all the same."""
    trial = begin(4, 30, BOOT, current=3, before=None)
    assert Wait(AGAIN) == decide(trial, later(99), current=4, booted=3, held=True)
    assert Wait(1.0) == decide(trial, later(29), current=4, booted=3, held=True)
    rebooted = Moment("boot-2", 3.0, BOOT.wall + 20)
    assert isinstance(decide(trial, rebooted, current=4, booted=3, held=True), GoBack)


def test_after_a_reboot_it_goes_back_at_once() -> None:
    """The time is not over, and yet: what is booted is what was confirmed."""
    trial = begin(4, 1e6, BOOT, current=3, before=None)
    rebooted = Moment("boot-2", 3.0, BOOT.wall + 20)
    assert GoBack("the machine was started anew before it was confirmed") == decide(
        trial, rebooted, current=4, booted=3
    )


@pytest.mark.parametrize("current", [None, 3, 5])
def test_a_switch_that_was_not_finished_is_undone(current: int | None) -> None:
    """The note of the trial is older than the link that makes it current."""
    trial = begin(4, 30, BOOT, current=3, before=None)
    assert GoBack("it was never switched to as a whole") == decide(
        trial, later(1), current=current, booted=3
    )


@pytest.mark.parametrize("now", [later(1), later(99), Moment("boot-2", 1.0, 9999.0)])
def test_a_confirmation_that_was_not_finished_holds(now: Moment) -> None:
    """Its first step was taken: nothing that comes later undoes it."""
    trial = begin(4, 30, BOOT, current=3, before=None)
    assert Settled() == decide(trial, now, current=4, booted=4)


@pytest.mark.parametrize(
    "damage", [{"number": "x"}, {"boot_id": 0, "deadline": None}, {"wall": []}]
)
def test_a_note_that_makes_no_sense_is_told(damage: dict[str, object]) -> None:
    """It raises what is caught, whatever stands there."""
    good = begin(4, 30, BOOT, current=3, before=None).to_json()
    with pytest.raises((KeyError, TypeError, ValueError)):
        Pending.from_json({**good, **damage})
