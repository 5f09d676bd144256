"""A subscription's queue, by histories."""

from __future__ import annotations

import pytest

from dora.communication.base import Kind
from dora.communication.inbox import Inbox, capacity


def drain(inbox: Inbox[str]) -> str:
    found = []
    while (item := inbox.take()) is not None:
        found.append(item)
    return "".join(found)


def fill(inbox: Inbox[str], text: str) -> Inbox[str]:
    """Lower case: data. Upper case: precious data. A dot: CLOSED."""
    for letter in text:
        kind = Kind.CLOSED if letter == "." else Kind.DATA
        inbox.put(letter, kind, precious=letter.isupper())
    return inbox


@pytest.mark.parametrize(
    ("put", "left", "dropped"),
    [
        ("ab", "ab", 0),
        ("abcde", "cde", 2),
        ("Abcde", "Ade", 2),
        ("ABCde", "BCe", 2),
        ("ABCDE", "CDE", 2),
        ("abc.", "abc.", 0),
        ("ab.cde", ".cde", 2),
        ("a.b.c.", "abc.", 0),
        ("......", ".", 0),
    ],
)
def test_a_full_queue_keeps_the_latest_and_the_precious(put: str, left: str, dropped: int) -> None:
    """CLOSED takes no room and is never lost; of several, the last counts."""
    inbox = fill(Inbox(3), put)
    assert (dropped, left) == (inbox.dropped, drain(inbox))
    inbox.close()


def test_flush_spares_the_precious() -> None:
    """Requests and goals are answered whatever else is out of date."""
    inbox = fill(Inbox(5), "aBc")
    inbox.put("d", flush=True)
    assert ("Bd", 0) == (drain(inbox), inbox.dropped)
    inbox.close()


@pytest.mark.parametrize(
    ("size", "policy", "expected"),
    [
        (0, "drop_oldest", 1),
        (5, "drop_oldest", 5),
        (5, "backpressure", 100),
        (50, "backpressure", 500),
    ],
)
def test_backpressure_enlarges_the_queue(size: int, policy: str, expected: int) -> None:
    """Ten times, at least 100."""
    assert expected == capacity(size, policy)


def test_an_unknown_policy_is_refused() -> None:
    """By its name."""
    with pytest.raises(ValueError, match="'drop_newest'"):
        capacity(1, "drop_newest")
