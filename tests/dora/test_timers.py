"""Timers, by histories with a clock of our own."""

from __future__ import annotations

import pytest

from dora.timers import Timers


def test_all_tick_at_once_then_periodically() -> None:
    """The first tick comes with the start."""
    timers = Timers({"fast": (10, 5), "slow": (25, 5)}, now=100)
    assert {"fast", "slow"} == timers.due(100)
    assert (100, 100) == (timers.take("fast", 100), timers.take("slow", 100))
    assert (set(), 110) == (timers.due(109), timers.deadline())
    assert ({"fast"}, 110) == (timers.due(110), timers.take("fast", 110))
    assert ({"fast", "slow"}, 120) == (timers.due(125), timers.deadline())


def test_a_late_taker_finds_a_bounded_queue_of_ticks() -> None:
    """The oldest ticks are dropped and counted; the phase is kept."""
    timers = Timers({"t": (10, 2)}, now=0)
    taken = []
    while timers.due(95):
        taken.append(timers.take("t", 95))
    assert ([80, 90], 8, 100) == (taken, timers.dropped("t"), timers.deadline())


def test_without_timers_nothing_is_ever_due() -> None:
    """And there is no deadline."""
    timers = Timers({}, now=0)
    assert (frozenset(), None) == (timers.due(10**18), timers.deadline())


def test_a_timer_needs_an_interval() -> None:
    """Zero would tick for ever at the same time."""
    with pytest.raises(ValueError, match="'t'"):
        Timers({"t": (0, 1)}, now=0)
