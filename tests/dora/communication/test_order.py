"""Messages of reliable senders: in order, what is missing asked for, and given up in the end."""

from __future__ import annotations

import random

import pytest

from dora.communication.order import PAST, PATIENCE, PAUSE, TRIES, WINDOW, Ask, Order, Step

ONE, OTHER = "one", "other"
CACHE = 1000


def begun(last: int, cache: int = CACHE) -> Order[str]:
    """`ONE` has sent so many."""
    order = Order[str](cache)
    for number in range(1, last + 1):
        assert Step([str(number)]) == order.arrived(ONE, number, str(number))
    return order


def answer(order: Order[str], *numbers: int, now: float = 0.0, sender: str = ONE) -> Step[str]:
    """An answer of these messages, whole or cut off."""
    ready = []
    for number in numbers:
        ready += order.told_again(sender, number, str(number), 100).ready
    step = order.answered(sender, now)
    return Step(ready + step.ready, step.ask, step.lost)


def test_what_comes_in_order_is_handed_out_at_once() -> None:
    """And what comes twice only once."""
    order = begun(3)
    assert Step() == order.arrived(ONE, 2, "2")
    assert Step(["4"]) == order.arrived(ONE, 4, "4")


def test_what_is_missing_is_asked_for_and_goes_before_what_came() -> None:
    """Messages that come meanwhile wait, too; each is handed out once."""
    order = begun(2)
    assert Step(ask=Ask(3, 5, 0.0)) == order.arrived(ONE, 5, "5")
    assert Step() == order.arrived(ONE, 6, "6")
    assert Step(["3", "4", "5", "6"]) == answer(order, 3, 4, 5)
    assert Step(["7"]) == order.arrived(ONE, 7, "7")


def test_what_comes_after_all_waits_for_no_answer() -> None:
    """While routers find other ways, a message may be late."""
    order = begun(2)
    order.arrived(ONE, 4, "4")
    assert Step(["3", "4"]) == order.arrived(ONE, 3, "3")
    assert Step() == answer(order, 3, 4)


def test_a_question_that_nobody_answers_is_asked_again() -> None:
    """After a pause; one that brought something is asked for the rest at once."""
    order = begun(1)
    order.arrived(ONE, 5, "5")
    for now in range(3 * TRIES):
        assert Step(ask=Ask(2, 5, PAUSE)) == answer(order, now=now)
    assert Step(["2"], Ask(3, 5, 0.0)) == answer(order, 2)
    assert Step(["3", "4", "5"]) == answer(order, 3, 4)


def test_an_answer_that_breaks_off_behind_one_gap_gives_up_no_other() -> None:
    """What is behind the second gap says nothing about what is in it."""
    order = begun(2)
    for number in (4, 7, 10):
        order.arrived(ONE, number, str(number))
    assert Step(["3", "4"], Ask(5, 7, 0.0)) == answer(order, 3, 4)
    assert Step(["5", "6", "7"], Ask(8, 10, 0.0)) == answer(order, 5, 6)
    assert Step(["8", "9", "10"]) == answer(order, 8, 9, 10)


def test_what_the_sender_has_no_more_is_given_up_by_its_number() -> None:
    """It keeps the last of what it has sent, so the rest is not even asked for."""
    order = begun(1, cache=3)
    assert Step(ask=Ask(4, 6, 0.0)) == order.arrived(ONE, 6, "6")
    assert Step(["4", "5", "6"], lost=2) == answer(order, 4, 5, 6)


def test_what_becomes_too_old_while_nobody_answers_is_given_up() -> None:
    """The rest is asked for still."""
    order = begun(1, cache=4)
    assert Step(ask=Ask(2, 3, 0.0)) == order.arrived(ONE, 3, "3")
    for number in (6, 7):
        order.arrived(ONE, number, str(number))
    assert Step(["3"], Ask(4, 6, PAUSE), lost=1) == answer(order)
    assert Step(["4", "5", "6", "7"]) == answer(order, 4, 5)


def test_a_sender_that_answers_without_it_is_believed_in_the_end() -> None:
    """That it has answered is seen by what it sends again of what came."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    order.arrived(ONE, 6, "6")
    for _ in range(TRIES - 1):
        assert Step(ask=Ask(2, 4, PAUSE)) == answer(order, 4)
    assert Step(["4"], Ask(5, 6, PAUSE), lost=2) == answer(order, 4)
    assert Step(["5", "6"]) == answer(order, 5, 6)


def test_who_was_silent_for_long_is_given_up() -> None:
    """The rest is handed out in order."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    order.arrived(ONE, 6, "6")
    assert Ask(2, 4, PAUSE) == answer(order, now=100).ask
    assert Ask(2, 4, PAUSE) == answer(order, now=100 + PATIENCE - 1).ask
    assert Step(["4", "6"], lost=3) == answer(order, now=100 + PATIENCE)
    assert Ask(7, 8, 0.0) == order.arrived(ONE, 8, "8").ask


def test_a_sign_of_life_begins_the_patience_anew() -> None:
    """Only silence without end ends it."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    answer(order, now=0)
    answer(order, 4, now=PATIENCE - 1)
    for now in (PATIENCE, 2 * PATIENCE - 1):
        assert answer(order, now=now).ask is not None
    assert 2 == answer(order, now=2 * PATIENCE).lost


def test_the_last_message_is_missed_when_its_sender_has_said_so_twice() -> None:
    """The first time it may be under way still."""
    order = begun(2)
    assert Step() == order.sent(ONE, 4)
    assert Step(["3"]) == order.arrived(ONE, 3, "3")
    assert Step(ask=Ask(4, 4, 0.0)) == order.sent(ONE, 4)
    assert Step(["4"]) == answer(order, 4)
    assert Step() == order.sent(ONE, 4)


def test_a_reader_that_comes_late_begins_with_what_is_kept() -> None:
    """What was before that is not lost, and not waited for."""
    order = Order[str](3)
    assert Step(ask=Ask(7, 9, 0.0)) == order.arrived(ONE, 9, "9")
    assert Step(["7", "8", "9"]) == answer(order, 7, 8, 9)
    other = Order[str](3)
    assert Step(ask=Ask(7, 9, 0.0)) == other.sent(ONE, 9)
    assert Step(["7", "8", "9"]) == answer(other, 7, 8, 9)


def test_a_reader_that_comes_late_asks_for_the_rest_of_an_answer() -> None:
    """From where the answer was cut off."""
    order = Order[str](5)
    order.arrived(ONE, 9, "9")
    assert Step(["5", "6"], Ask(7, 9, 0.0)) == answer(order, 5, 6)
    assert Step(["7", "8", "9"]) == answer(order, 7, 8, 9)


def test_a_reader_that_comes_late_asks_again_if_nobody_answers() -> None:
    """In the end it goes on without, and nothing counts as lost."""
    order = Order[str](5)
    order.arrived(ONE, 9, "9")
    assert Ask(5, 9, PAUSE) == answer(order, now=0).ask
    assert Step(["9"]) == answer(order, now=PATIENCE)


def test_much_that_is_missing_is_asked_for_in_windows() -> None:
    """They grow while answers are whole, and shrink when they break off."""
    order = begun(1)
    first = order.arrived(ONE, 900, "900").ask
    assert Ask(2, 1 + WINDOW, 0.0) == first
    second = answer(order, *range(2, 2 + WINDOW)).ask
    assert Ask(2 + WINDOW, 1 + 3 * WINDOW, 0.0) == second
    third = answer(order, *range(2 + WINDOW, 10 + WINDOW)).ask
    assert Ask(10 + WINDOW, 9 + 2 * WINDOW, 0.0) == third


def test_large_messages_are_asked_for_in_small_windows() -> None:
    """By the bytes of those that came."""
    order = begun(1)
    order.arrived(ONE, 900, "900")
    for number in range(2, 2 + WINDOW):
        order.told_again(ONE, number, "large", 1 << 18)
    step = order.answered(ONE, 0.0)
    assert Ask(2 + WINDOW, 5 + WINDOW, 0.0) == step.ask


def test_senders_do_not_wait_for_each_other() -> None:
    """Those of different groups: each has an answer of its own."""
    order = Order[str](CACHE)
    order.arrived(ONE, 2, "2", group=1)
    order.arrived(OTHER, 5, "5", group=2)
    assert Step(["1", "2", "3"], Ask(4, 5, 0.0)) == answer(order, 1, 2, 3, sender=OTHER)
    assert Step(["1", "2"]) == answer(order, 1)
    assert Step(["4", "5"]) == answer(order, 4, sender=OTHER)


def test_who_follows_a_sender_ends_the_wait_for_it() -> None:
    """What it kept is gone with its process; what came of it goes first."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    assert Step(["4", "a"], lost=2) == order.arrived(OTHER, 1, "a")
    assert Step() == answer(order, 2)


def test_a_sender_that_has_ended_is_not_waited_for() -> None:
    """Nor are others disturbed."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    order.arrived(OTHER, 1, "a", group=2)
    order.arrived(OTHER, 3, "c", group=2)
    assert Step(["4"], lost=2) == order.ended(0)
    assert Step(["b", "c"]) == Step(order.told_again(OTHER, 2, "b", 1).ready)


def test_senders_of_the_past_are_forgotten() -> None:
    """However often a sender was started anew."""
    order = Order[str](CACHE)
    for sender in range(3 * PAST):
        order.arrived(str(sender), 1, "a")
    assert f"<Order of {PAST} senders, 0 asked>" == repr(order)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_bad_link_does_nothing_that_is_kept_is_lost(seed: int) -> None:
    """Messages, answers and heartbeats vanish or break off at random; in the end all has come, once
    and in order."""
    chance = random.Random(seed)
    order = Order[int](CACHE)
    found: list[int] = []
    asked: Ask | None = None
    total = 0

    def do(step: Step[int]) -> None:
        nonlocal asked
        found.extend(step.ready)
        assert 0 == step.lost
        if step.ask is not None:
            assert asked is None
            asked = step.ask

    for now in range(2 * CACHE):
        bad = now < CACHE
        if bad and chance.random() < 0.7:
            total += 1
            if chance.random() < 0.5:
                do(order.arrived(ONE, total, total))
        if total and (not bad or chance.random() < 0.05):
            do(order.sent(ONE, total))
        if asked is not None and chance.random() < 0.3:
            whole = list(range(asked.first, min(asked.last, total) + 1))
            asked = None
            for number in whole[: chance.randint(0, len(whole)) if bad else len(whole)]:
                do(order.told_again(ONE, number, number, 100))
            do(order.answered(ONE, now / 10))
    assert list(range(1, total + 1)) == found
