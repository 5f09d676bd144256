"""What a process said some seconds ago, from every history of what it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.supervisor.sayings import FRESH, KEPT, SPACING, Before, Sayings


def test_nothing_is_known_of_who_has_spoken_once() -> None:
    """A rate needs two counts."""
    sayings = Sayings()
    assert None is sayings.before(0.0)
    sayings.hear("1", 1.0)
    assert None is sayings.before(1.5)


def test_what_was_said_is_compared_with_what_is_said_last() -> None:
    """Over the time between the two, while it goes on speaking."""
    sayings = Sayings()
    for second in range(3):
        sayings.hear(str(second), float(second))
    assert Before("0", 2.0) == sayings.before(2.5)


def test_silence_means_that_nothing_changes() -> None:
    """Who says something only when it changes has the rate go down."""
    sayings = Sayings()
    sayings.hear("0", 0.0)
    sayings.hear("10", 1.0)
    assert Before("0", 1.0) == sayings.before(1.0 + FRESH / 2)
    assert Before("0", 20.0) == sayings.before(20.0)


@given(st.lists(st.floats(0.01, 3.0), min_size=2, max_size=60))
def test_the_past_is_near_but_not_too_near(pauses: list[float]) -> None:
    """Whatever the pauses: after a while, between one and three spacings, and little is kept."""
    sayings, now = Sayings(), 0.0
    for pause in pauses:
        now += pause
        sayings.hear(f"{now}", now)
    found = sayings.before(now)
    assert found is not None
    assert abs(now - float(found.text) - found.seconds) < 1e-9
    assert f"<{min(len(pauses), KEPT)} sayings>" >= repr(sayings)
    if now - pauses[0] > 3 * SPACING:
        assert SPACING <= found.seconds <= KEPT * (SPACING + 3.0)
