"""Figures of the benchmarks: what is a median, a tail, a pair, a target that is met."""

from __future__ import annotations

import math

import pytest

from benchmarks.figures import (
    FLOOR,
    PEER,
    Row,
    Sample,
    duration,
    latencies,
    middles,
    paired,
    quantile,
    rate,
    rates,
)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    """The nearest rank, in any order of values."""
    assert [1, 3, 5, 5] == [quantile([5, 1, 4, 2, 3], share) for share in (0.0, 0.5, 0.99, 1.0)]
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_lost_messages_are_counted_and_not_averaged() -> None:
    """Each reader's loss counts for itself."""
    assert Sample(2.0, 3.0, 3, lost=3) == latencies([[1.0, 2.0], [3.0, None], [None, None]])
    nothing = latencies([[None]])
    assert (True, 0, 1) == (math.isnan(nothing.middle), nothing.count, nothing.lost)


def test_a_ratio_is_the_median_of_pairs() -> None:
    """Not the ratio of medians; of several readers the mean; pairs with nothing are left out."""
    theirs = [[8.0, 4.0], [10.0], [None], [100.0]]
    ours = [[2.0], [1.0], [1.0], [1.0]]
    assert 10.0 == paired(theirs, ours)
    assert math.isnan(paired([[None]], [[1.0]]))


def test_a_burst_counts_by_its_median() -> None:
    """One stall does not speak for the others; a burst that was lost has nothing to say."""
    assert [[2.0], [None]] == middles([[1.0, 2.0, 900.0, None], [None]])


def test_a_target_is_met_from_the_ratio_it_asks_for() -> None:
    """And the tail must not be longer than dora-rs's, for the ways that have a target."""
    row = Row(
        "one to one",
        "8 B",
        {PEER: Sample(10, 20, 5), "arrow": Sample(5, 21, 5), "numpy": Sample(3, 20, 5)},
        {"arrow": 2.0, "numpy": 3.9},
        {"arrow": 2.0, "numpy": 4.0},
    )
    verdicts = {"arrow 2x": True, "numpy 4x": False, "arrow p99": False, "numpy p99": True}
    assert verdicts == row.verdicts()


def test_a_target_beyond_the_floor_is_named_and_stays_missed() -> None:
    """Nobody copies quicker than a copy; what is filled in place needs none."""
    row = Row(
        "one to one",
        "40 MB",
        {PEER: Sample(10, 20, 5)},
        {"arrow": 50.0, "in place": 300.0, FLOOR: 57.0},
        {"arrow": 80.0, "in place": 400.0},
    )
    assert {"arrow 80x": False, "in place 400x": False} == row.verdicts()
    assert {"arrow 80x"} == row.out_of_reach()


def test_rows_without_targets_have_no_verdicts() -> None:
    """They are shown for what they are."""
    samples = {PEER: Sample(10, 20, 5), "arrow": Sample(50, 90, 5)}
    assert {} == Row("two machines", "8 B", samples, {"arrow": 0.2}).verdicts()


def test_of_rates_the_slowest_is_the_tail() -> None:
    """Messages per second: more is better."""
    assert Sample(20.0, 10.0, 3, 1, 2) == rates([30.0, 10.0, 20.0], 1, 2)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_234, "1.23 us"),
        (45_678, "45.7 us"),
        (999_600, "1000 us"),
        (2.5e6, "2.50 ms"),
        (3e9, "3.00 s"),
    ],
)
def test_durations_have_three_digits(nanoseconds: float, text: str) -> None:
    """In the unit that people read best."""
    assert text == duration(nanoseconds)


def test_figures_that_are_missing_are_dashes() -> None:
    """Not the word nan."""
    assert ("-", "-", "950/s", "12.5 k/s") == (
        duration(math.nan),
        rate(math.nan),
        rate(950.0),
        rate(12_500.0),
    )
