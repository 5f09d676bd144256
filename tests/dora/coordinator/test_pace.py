"""Counts at two moments make rates, if they are of one process."""

from __future__ import annotations

import pytest

from dora.coordinator.pace import Rates, busy, rates
from dora.protocol.traffic import OperatorTraffic, Traffic


def test_rates_are_what_the_counts_grew_by() -> None:
    """A second each."""
    before, now = Traffic(received=10, sent=0, dropped=1), Traffic(received=30, sent=5, dropped=1)
    assert Rates(5.0, 1.25, 0.0) == rates(before, now, 4.0)


@pytest.mark.parametrize(
    ("now", "seconds"), [(Traffic(received=3), 4.0), (Traffic(received=20), 0.0)]
)
def test_another_process_or_no_time_makes_none(now: Traffic, seconds: float) -> None:
    """A process that was restarted counts from nothing."""
    assert None is rates(Traffic(received=10), now, seconds)


def called(**run_times: int) -> Traffic:
    """Operator -> microseconds in calls."""
    return Traffic(
        operators={
            name: OperatorTraffic("running", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, run_time, 0)
            for name, run_time in run_times.items()
        }
    )


def test_operators_are_busy_for_a_share_of_their_time() -> None:
    """Nothing is said of those that are new, that count from nothing, or that are never called."""
    before = called(a=1_000_000, again=5_000_000, group=0)
    now = called(a=3_000_000, again=1_000_000, group=0, new=500_000)

    assert {"a": 0.5} == busy(before, now, 4.0, {"group"})
    assert {} == busy(before, now, 0.0)
