"""Edges within a runtime that fall silent, by histories with a clock of our own."""

from __future__ import annotations

import pytest

from dora.protocol.runtime import OperatorConfig
from dora.runtime.mailbox import Mailbox
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Exchange, Sender, Way
from dora.runtime.silences import LOOKS, Silences


class Runtime:
    """A sender and a reader of its output, whose input has a timeout of a second."""

    def __init__(self, outside: str | None = None) -> None:
        self.now = 0.0
        self.told: list[object] = []
        self.scheduler = Scheduler()
        task = self.scheduler.add(
            OperatorConfig("reader", "python", "reader.py"), {"n": (10, "drop_oldest")}
        )
        self.queue = task.queues["n"]
        exchange = Exchange(self.scheduler, Mailbox())
        exchange.outside = lambda output, value, metadata: None
        self.way = Way((self.queue,), outside)
        sender = self.scheduler.add(OperatorConfig("sender", "python", "sender.py"), {})
        self.sender = Sender(sender, exchange)
        self.sender.ways["out"] = self.way
        self.silences = Silences(self._hush, exchange, lambda: self.now)
        self.silences.watch(self.queue, [self.way], 1.0, 0.0)

    def _hush(self, queue: object, silent: bool) -> None:
        assert queue is self.queue
        self.told.append((silent, len(self.queue.items)))

    def until(self, end: float) -> None:
        """Looks whenever it is time to."""
        while self.silences.deadline() <= end:
            self.now = self.silences.deadline()
            self.silences.look(self.now)
        self.now = end

    def send(self) -> None:
        self.sender.send("out", b"x")


@pytest.mark.parametrize("outside", [None, "out"], ids=["inside", "read outside, too"])
def test_a_silent_edge_is_told_of_once_and_recovers_before_the_next_message(
    outside: str | None,
) -> None:
    """And may fall silent again."""
    runtime = Runtime(outside)
    runtime.until(0.99)
    assert [] == runtime.told
    runtime.until(5.0)
    assert [(True, 0)] == runtime.told
    runtime.send()
    runtime.send()
    assert [(True, 0), (False, 0)] == runtime.told
    assert 2 == len(runtime.queue.items)
    runtime.until(10.0)
    assert [(True, 0), (False, 0), (True, 2)] == runtime.told


def test_an_edge_that_carries_something_is_not_silent() -> None:
    """Its silence is seen an eighth of the timeout late at most."""
    runtime = Runtime()
    for number in range(1, 20):
        runtime.until(number * 0.9)
        runtime.send()
    assert [] == runtime.told
    runtime.until(19 * 0.9 + 1 + 1 / LOOKS)
    assert [True] == [silent for silent, _ in runtime.told]


def test_messages_take_the_short_way_again_after_a_silence() -> None:
    """As long as nobody else is silent."""
    runtime = Runtime()
    runtime.until(2.0)
    assert not runtime.way.inner
    runtime.send()
    assert runtime.way.inner


def test_nobody_looks_after_an_operator_that_has_ended() -> None:
    """Nor is it told anything."""
    runtime = Runtime()
    runtime.scheduler.remove(runtime.queue.task)
    runtime.until(5.0)
    assert [] == runtime.told
    assert float("inf") == runtime.silences.deadline()
