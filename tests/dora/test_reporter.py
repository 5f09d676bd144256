"""What a node says about once a second of what goes through it."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from dora.protocol.config import InputConfig
from dora.protocol.traffic import InputTraffic, Traffic
from dora.reporter import Reporter
from tests.dora.harness import PATIENCE, Playground, playground, wait_until
from tests.dora.hearing import ear


class Look:
    """Traffic that a test changes, and what was said of it."""

    def __init__(self) -> None:
        self.sent = 1
        self.heard = True
        self.said: queue.Queue[int] = queue.Queue()

    def __call__(self) -> Traffic:
        return Traffic(sent=self.sent)

    def say(self, text: str) -> bool:
        self.said.put(Traffic.from_text(text).sent)
        return self.heard


def test_it_is_said_while_it_changes_and_once_more_at_the_end() -> None:
    """Not again and again when it stays the same."""
    look = Look()
    reporter = Reporter(look, look.say, interval=0.01)
    assert 1 == look.said.get(timeout=PATIENCE)
    look.sent = 2
    assert 2 == look.said.get(timeout=PATIENCE)
    with pytest.raises(queue.Empty):
        look.said.get(timeout=0.2)
    reporter.end()
    reporter.end()
    assert look.said.empty()


def test_what_nobody_heard_is_said_again() -> None:
    """A supervisor that is being replaced misses nothing for good."""
    look = Look()
    look.heard = False
    reporter = Reporter(look, look.say, interval=0.01)
    assert [1, 1] == [look.said.get(timeout=PATIENCE) for _ in range(2)]
    reporter.end()


def test_the_last_word_holds_what_came_since() -> None:
    """However long the interval is."""
    look = Look()
    reporter = Reporter(look, look.say, interval=PATIENCE)
    look.sent = 3
    reporter.end()
    assert 3 == look.said.get_nowait()


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        yield area


FLOOD = """
from dora import Node
node = Node()
node.send_output("unread", b"x")
for number in range(100):
    node.send_output("n", b"x")
with node.allocate_output("n", 8):
    pass
while node.next():
    pass
"""
SLEEP_THEN_READ = """
import os, time
from dora import Node
node = Node()
while not os.path.exists("awake"):  # a program that computes: what it loses is said meanwhile
    time.sleep(0.01)
while node.next():
    pass
"""


@pytest.mark.parametrize("layer", ["shm", "zenoh"])
def test_a_node_says_what_it_received_sent_and_dropped(area: Playground, layer: str) -> None:
    """Also what a full queue throws away while the program does something else, and how large the
    last message was."""
    if layer == "zenoh":
        area.router()
    area.layer = layer
    area.node("slow", {"n": InputConfig("flood/n", layer, queue_size=10)})
    area.node("flood", outputs=("n",), unread=("unread",))
    with ear(area, "slow") as of_slow, ear(area, "flood") as of_flood:
        slow = area.start("slow", SLEEP_THEN_READ, env=of_slow.env, ready=False)
        flood = area.start("flood", FLOOD, env=of_flood.env, ready=False)
        # how large is what nobody reads, nobody knows: it is not even encoded
        sent = Traffic.of({}, {"n": 101, "unread": 1}, {"n": 8})
        wait_until(lambda: of_flood.traffic() == sent, "all is sent")
        wait_until(lambda: of_slow.traffic().dropped == 91, "91 are dropped")
        (area.folder / "awake").touch()
        wait_until(lambda: of_slow.traffic().received == 10, "what was left is read")
        area.stop("flood")
        area.stop("slow")
        assert (0, 0) == (flood.wait(), slow.wait())
        assert Traffic.of({"n": InputTraffic(10, 91)}, {}) == of_slow.traffic()
