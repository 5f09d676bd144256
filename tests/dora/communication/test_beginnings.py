"""What was sent before the first message that came: asked for once, handed out in order."""

from __future__ import annotations

from dora.communication.beginnings import MOST_SENDERS, Beginnings

ONE, OTHER = 7, 8


def test_a_sender_that_is_heard_from_its_first_message_is_asked_nothing() -> None:
    """All that comes is handed out at once."""
    beginnings = Beginnings[str]()
    assert (["a"], False) == beginnings.arrived(ONE, 1, "a")
    assert (["b"], False) == beginnings.arrived(ONE, 2, "b")
    assert (["d"], False) == beginnings.arrived(ONE, 4, "d")


def test_what_was_before_the_first_that_came_goes_before_it() -> None:
    """Messages that come meanwhile wait, and each is handed out once, in order."""
    beginnings = Beginnings[str]()
    assert ([], True) == beginnings.arrived(ONE, 3, "c")
    assert ([], False) == beginnings.arrived(ONE, 4, "d")
    for number, item in ((2, "b"), (1, "a"), (3, "again")):
        beginnings.told_again(ONE, number, item)
    assert ["a", "b", "c", "d"] == beginnings.answered(ONE)
    assert (["e"], False) == beginnings.arrived(ONE, 5, "e")


def test_a_sender_that_keeps_nothing_holds_nobody_up() -> None:
    """An empty answer gives what waited; what comes late as an answer is nothing new."""
    beginnings = Beginnings[str]()
    beginnings.arrived(ONE, 9, "i")
    assert ["i"] == beginnings.answered(ONE)
    beginnings.told_again(ONE, 8, "h")
    assert (["j"], False) == beginnings.arrived(ONE, 10, "j")


def test_senders_do_not_wait_for_each_other() -> None:
    """Each has an answer of its own; one that does not count is never asked."""
    beginnings = Beginnings[str]()
    assert ([], True) == beginnings.arrived(ONE, 2, "b")
    assert ([], True) == beginnings.arrived(OTHER, 5, "e")
    assert (["?"], False) == beginnings.arrived(0, 5, "?")
    assert ["e"] == beginnings.answered(OTHER)
    assert ["b"] == beginnings.answered(ONE)


def test_senders_of_the_past_are_forgotten() -> None:
    """However often a sender was started anew."""
    beginnings = Beginnings[str]()
    for sender in range(1, 2 * MOST_SENDERS):
        beginnings.arrived(sender, 1, "a")
    assert f"<Beginnings of {MOST_SENDERS} senders, 0 asked>" == repr(beginnings)
