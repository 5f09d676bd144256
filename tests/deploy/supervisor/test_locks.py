"""Locks by histories and a clock of our own: one holder, everybody's, silent ones."""

from __future__ import annotations

import pytest

from deploy.supervisor.control import Refusal
from deploy.supervisor.locks import SILENCE, Locks


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


ADA, BOB = object(), object()


def test_a_silent_holder_loses_its_lock() -> None:
    """Not before its time, and each word counts anew."""
    clock = Clock()
    locks = Locks(clock)
    locks.heard(ADA, busy=False)
    locks.take("flow", ADA, "ada@laptop", 1.0)
    for _ in range(3):
        clock.now += SILENCE - 1
        locks.heard(ADA, busy=False)
    with pytest.raises(Refusal, match="locked by ada@laptop"):
        locks.take("flow", BOB, "bob@desk", 2.0)
    clock.now += SILENCE + 1
    assert locks.get("flow") is None
    locks.take("flow", BOB, "bob@desk", 2.0)
    with pytest.raises(Refusal, match="not locked by this connection"):
        locks.check("flow", ADA)


def test_a_holder_that_is_being_answered_is_not_silent() -> None:
    """A request may take longer than that, such as a stop of slow units."""
    clock = Clock()
    locks = Locks(clock)
    locks.heard(ADA, busy=True)
    locks.take("flow", ADA, "ada@laptop", 1.0)
    clock.now += 10 * SILENCE
    locks.check("flow", ADA)
    locks.heard(ADA, busy=False)
    clock.now += SILENCE + 1
    assert locks.get("flow") is None


def test_who_locks_everything_keeps_the_others_out() -> None:
    """And does not get it while anything is locked."""
    locks = Locks(Clock())
    locks.take("flow", ADA, "ada@laptop", 1.0)
    with pytest.raises(Refusal, match="'flow' is locked by ada@laptop"):
        locks.take_everything(BOB, "bob@desk", 2.0)
    locks.take_everything(ADA, "ada@laptop", 2.0)
    with pytest.raises(Refusal, match="everything is locked by ada@laptop"):
        locks.take("other", BOB, "bob@desk", 3.0)
    locks.release_everything(ADA)
    locks.take("other", BOB, "bob@desk", 3.0)


def test_a_broken_lock_is_its_holders_no_more() -> None:
    """Whoever broke it is told whose it was."""
    locks = Locks(Clock())
    locks.take("flow", ADA, "ada@laptop", 1.0)
    broken = locks.break_lock("flow")
    assert broken is not None
    assert {"owner": "ada@laptop", "since": 1.0} == broken.to_json()
    assert locks.break_lock("flow") is None
    with pytest.raises(Refusal):
        locks.check("flow", ADA)


def test_locks_end_with_their_connection() -> None:
    """Those of others stay."""
    locks = Locks(Clock())
    locks.take("a", ADA, "ada@laptop", 1.0)
    locks.take("b", BOB, "bob@desk", 1.0)
    locks.release_all(ADA)
    assert locks.get("a") is None
    assert locks.get("b") is not None
