"""Lost messages are known by the numbers of those that come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.communication.gaps import MOST_SENDERS, Gaps

TOP = 2**32


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ([], 0),
        ([7], 0),  # what came before it was not for us
        ([1, 2, 3], 0),
        ([1, 3, 6], 3),
        ([1, 3, 2], 1),  # counted when it did not come in its turn
        ([1, 3, 3, 4], 1),
        ([TOP - 2, TOP - 1, 0, 2], 1),
    ],
)
def test_what_is_missing_between_two_numbers_is_lost(numbers: list[int], lost: int) -> None:
    """Also where the numbers begin again."""
    gaps = Gaps()
    for number in numbers:
        gaps.arrived(1, number)
    assert lost == gaps.lost


def test_what_comes_twice_or_too_late_is_not_new() -> None:
    """Of each sender; one that does not count is always new."""
    gaps = Gaps()
    came = [(1, 1), (1, 3), (1, 2), (1, 3), (2, 2), (1, 4), (0, 0), (0, 0)]
    expected = [True, True, False, False, True, True, True, True]
    assert expected == [gaps.arrived(sender, number) for sender, number in came]


def test_senders_are_apart_and_nobody_is_none() -> None:
    """A restarted sender begins anew; a router that speaks for one does not count."""
    gaps = Gaps()
    for sender, number in ((1, 10), (2, 1), (0, 500), (0, 0), (1, 11), (2, 3)):
        gaps.arrived(sender, number)
    assert 1 == gaps.lost


def test_senders_of_long_ago_are_forgotten() -> None:
    """However often one is restarted."""
    gaps = Gaps()
    for sender in range(1, MOST_SENDERS + 2):
        gaps.arrived(sender, 1)
    gaps.arrived(1, 9)
    gaps.arrived(MOST_SENDERS + 1, 9)
    assert 7 == gaps.lost


@given(st.lists(st.booleans(), min_size=1), st.integers(0, TOP - 1))
def test_arrived_and_lost_are_what_was_sent(arrives: list[bool], start: int) -> None:
    """Between the first and the last that came."""
    came = [index for index, came in enumerate(arrives) if came]
    gaps = Gaps()
    for index in came:
        gaps.arrived(1, (start + index) % TOP)
    assert (came[-1] - came[0] + 1 if came else 0) == len(came) + gaps.lost
