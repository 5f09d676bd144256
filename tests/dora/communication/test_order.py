"""Messages of reliable senders: in order, what is missing asked for, and given up in the end."""

from __future__ import annotations

from dora.communication.order import MOST_SENDERS, TRIES, Order, Step

ONE, OTHER = 7, 8


def begun(last: int) -> Order[str]:
    """`ONE` has sent so many."""
    order = Order[str]()
    for number in range(1, last + 1):
        assert Step([str(number)]) == order.arrived(ONE, number, str(number))
    return order


def test_what_comes_in_order_is_handed_out_at_once() -> None:
    """And what comes twice only once."""
    order = begun(3)
    assert Step() == order.arrived(ONE, 2, "2")
    assert Step(["4"]) == order.arrived(ONE, 4, "4")


def test_what_is_missing_is_asked_for_and_goes_before_what_came() -> None:
    """Messages that come meanwhile wait, too; each is handed out once."""
    order = begun(2)
    assert Step(ask=3) == order.arrived(ONE, 5, "5")
    assert Step() == order.arrived(ONE, 6, "6")
    for number in (4, 3, 5, 1):
        order.told_again(ONE, number, str(number))
    assert Step(["3", "4", "5", "6"]) == order.answered(ONE)
    assert Step(["7"]) == order.arrived(ONE, 7, "7")


def test_a_question_that_nobody_answers_is_asked_again() -> None:
    """For what is still missing; each message that it brings gives it all tries again."""
    order = begun(1)
    order.arrived(ONE, 5, "5")
    for _ in range(TRIES - 1):
        assert Step(ask=2) == order.answered(ONE)
    order.told_again(ONE, 2, "2")
    assert Step(["2"], ask=3) == order.answered(ONE)
    assert Step(ask=3) == order.answered(ONE)
    for number in (3, 4):
        order.told_again(ONE, number, str(number))
    assert Step(["3", "4", "5"]) == order.answered(ONE)


def test_what_the_sender_has_no_more_is_given_up_at_once_and_counted() -> None:
    """That it has answered is seen by what it sends again of what came."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    order.arrived(ONE, 6, "6")
    for number in (3, 4, 5, 6, 7):
        order.told_again(ONE, number, str(number))
    assert Step(["3", "4", "5", "6", "7"], lost=1) == order.answered(ONE)
    assert 8 == order.arrived(ONE, 9, "9").ask


def test_what_nobody_answers_for_is_given_up_in_the_end() -> None:
    """The rest is handed out in order; later gaps have all their tries again."""
    order = begun(1)
    order.arrived(ONE, 4, "4")
    order.arrived(ONE, 6, "6")
    steps = [order.answered(ONE) for _ in range(TRIES)]
    assert [2] * (TRIES - 1) == [step.ask for step in steps[:-1]]
    assert Step(["4", "6"], lost=3) == steps[-1]
    assert 7 == order.arrived(ONE, 8, "8").ask
    assert 7 == order.answered(ONE).ask


def test_a_reader_that_comes_late_begins_with_what_is_kept() -> None:
    """What was before that is not lost, and not waited for."""
    order = Order[str]()
    assert Step(ask=1) == order.arrived(ONE, 9, "9")
    for number in (9, 8, 7):
        order.told_again(ONE, number, str(number))
    assert Step(["7", "8", "9"]) == order.answered(ONE)


def test_a_reader_that_comes_late_asks_for_the_rest_of_an_answer() -> None:
    """From where the answer was cut off."""
    order = Order[str]()
    order.arrived(ONE, 9, "9")
    for number in (5, 6):
        order.told_again(ONE, number, str(number))
    assert Step(["5", "6"], ask=7) == order.answered(ONE)
    for number in (7, 8, 9):
        order.told_again(ONE, number, str(number))
    assert Step(["7", "8", "9"]) == order.answered(ONE)


def test_a_reader_that_comes_late_asks_again_if_nobody_answers() -> None:
    """In the end it goes on without, and nothing counts as lost."""
    order = Order[str]()
    order.arrived(ONE, 9, "9")
    for _ in range(TRIES - 1):
        assert 1 == order.answered(ONE).ask
    assert Step(["9"]) == order.answered(ONE)


def test_senders_do_not_wait_for_each_other() -> None:
    """Each has an answer of its own; one that does not count is never asked."""
    order = Order[str]()
    order.arrived(ONE, 2, "2")
    order.arrived(OTHER, 5, "5")
    for sender, number in ((ONE, 2), (OTHER, 5)):
        order.told_again(sender, number, "again")
    assert Step(["?"]) == order.arrived(0, 5, "?")
    assert Step(["5"]) == order.answered(OTHER)
    assert Step(["2"]) == order.answered(ONE)
    assert Step() == order.answered(ONE)


def test_senders_of_the_past_are_forgotten() -> None:
    """However often a sender was started anew."""
    order = Order[str]()
    for sender in range(1, 2 * MOST_SENDERS):
        order.arrived(sender, 1, "a")
    assert f"<Order of {MOST_SENDERS} senders, 0 asked>" == repr(order)
