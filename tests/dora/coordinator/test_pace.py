"""Counts at two moments make rates, if they are of one process."""

from __future__ import annotations

import pytest

from dora.coordinator.pace import Rates, rates
from dora.protocol.traffic import Traffic


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
