"""Signs of life of a node: when they are passed on, and that a waiting stream gives them."""

from __future__ import annotations

from dora.pulse import Pulse
from dora.stream import EventStream


class Wrist:
    """A pulse with a clock of its own."""

    def __init__(self, interval: float) -> None:
        self.now = 100.0
        self.told: list[str] = []
        self.pulse = Pulse(
            interval,
            beat=lambda: self.told.append("alive"),
            rest=lambda: self.told.append("rest"),
            clock=lambda: self.now,
        )

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


def test_signs_that_follow_closely_are_passed_on_once() -> None:
    """Ten in an interval at most; who waits is to give another after a third of it."""
    wrist = Wrist(30)
    for _ in range(100):
        wrist.pulse.sign()
    assert (["alive"], 110.0) == (wrist.take(), wrist.pulse.due)
    wrist.now += 2.9
    wrist.pulse.sign()
    assert [] == wrist.take()
    wrist.now += 0.2
    wrist.pulse.sign()
    assert ["alive"] == wrist.take()


def test_nobody_is_watched_after_the_last_event() -> None:
    """It is said once, and no sign of life follows that would take it back."""
    wrist = Wrist(30)
    wrist.pulse.end()
    wrist.pulse.end()
    wrist.now += 100
    wrist.pulse.sign()
    assert (["rest"], None) == (wrist.take(), wrist.pulse.due)


def test_a_stream_gives_signs_while_it_waits_and_rests_when_it_ends() -> None:
    """Its deadline is the next sign's, so that whoever waits by that comes back in time."""
    wrist = Wrist(30)
    stream = EventStream({}, {}, None, lasting=True, pulse=wrist.pulse)
    assert None is stream.message(None)
    assert None is stream.take()
    assert (["alive"], 110.0) == (wrist.take(), stream.deadline())
    stream.close()
    assert (["rest"], None) == (wrist.take(), stream.deadline())
