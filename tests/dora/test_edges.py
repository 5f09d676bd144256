"""Edges change their way while nodes run: between shared memory and routers, both ways."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dora.communication.base import Kind, Message, Subscription
from dora.edges import Edges
from dora.protocol.comeback import ALWAYS
from dora.protocol.config import InputConfig, NodeConfig, OutputConfig
from dora.protocol.ways import DOCUMENT, NodeWays, to_text
from dora.stream import EventStream
from tests.dora.harness import PATIENCE, Playground, Process, playground, wait_until

ROUTED = OutputConfig(("zenoh",))
LOCAL = OutputConfig(("shm",))
BOTH = OutputConfig(("shm", "zenoh"))


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        yield area


def config_of(area: Playground, **outputs: OutputConfig) -> NodeConfig:
    return NodeConfig(
        "flow",
        "id",
        "sender",
        inputs={"back": InputConfig("reader/back", "shm")},
        outputs=outputs,
        zenoh=area.socket(),
        shm=str(area.folder),
    )


class Fed:
    """Who takes new subscriptions."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Subscription]] = []

    def __call__(self, name: str, subscription: Subscription) -> None:
        self.got.append((name, subscription))


def test_what_stays_is_not_touched(area: Playground) -> None:
    """One of several layers comes or goes: the others' publishers are the same; a plain message
    takes the short way again as soon as one layer alone carries the output."""
    area.router()
    first = config_of(area, numbers=LOCAL, frames=LOCAL)
    edges, fed = Edges(first, returns=ALWAYS, short=True), Fed()
    try:
        near, frames = edges.publishers["numbers"][0], edges.publishers["frames"]
        assert {"numbers", "frames"} == set(edges.shortcuts)

        both = replace(first, outputs={"numbers": BOTH, "frames": LOCAL})
        wait_until(lambda: edges.approach(both, fed) or edges.config == both, "the router")
        assert near is edges.publishers["numbers"][0]
        assert 2 == len(edges.publishers["numbers"])
        assert edges.presence is not None
        assert {"frames"} == set(edges.shortcuts)

        edges.approach(first, fed)
        assert (near,) == edges.publishers["numbers"]
        assert {"numbers", "frames"} == set(edges.shortcuts)
        edges.tidy()
        assert edges.presence is None
        assert "<Layers ['shm']>" == repr(edges.layers)

        routed = replace(first, outputs={"numbers": ROUTED, "frames": LOCAL})
        wait_until(lambda: edges.approach(routed, fed) or edges.config == routed, "the router")
        edges.finish("numbers")
        edges.approach(first, fed)
        assert near is not edges.publishers["numbers"][0]
        assert frames == edges.publishers["frames"]
        assert [] == fed.got
    finally:
        edges.layers.close()


def test_a_router_that_is_not_there_holds_up_nobody(area: Playground) -> None:
    """Edges stay as they are until it is; others change meanwhile."""
    first = config_of(area, numbers=LOCAL)
    edges, fed = Edges(first, returns=ALWAYS, short=True), Fed()
    try:
        back = InputConfig("reader/back", "shm", queue_size=3)
        wanted = replace(first, inputs={"back": back}, outputs={"numbers": ROUTED})
        edges.approach(wanted, fed)
        assert (back, LOCAL) == (edges.config.inputs["back"], edges.config.outputs["numbers"])
        assert ["back"] == [name for name, _ in fed.got]

        area.router()
        wait_until(lambda: edges.approach(wanted, fed) or edges.config == wanted, "the router")
        assert 1 == len(fed.got)
    finally:
        edges.layers.close()


class Waiting:
    """A subscription with these messages, without anybody who sends."""

    def __init__(self, *messages: Message) -> None:
        self._wake = os.eventfd(len(messages), os.EFD_NONBLOCK)
        self._messages = deque(messages)
        self.dropped = 2
        self.closed = False

    def fileno(self) -> int:
        return self._wake

    def receive(self) -> Message | None:
        if not self._messages:
            return None
        message = self._messages.popleft()
        if not self._messages:
            os.eventfd_read(self._wake)
        return message

    def close(self) -> None:
        self.closed = True
        os.close(self._wake)


def message(value: int, kind: Kind = Kind.DATA) -> Message:
    return Message(kind, 0, {}, lambda: value)


def shown(stream: EventStream) -> list[tuple[str, Any]]:
    found = []
    while (event := stream.take()) is not None:
        found.append((event["type"], event["value"] if event["type"] == "INPUT" else None))
    return found


def test_what_waits_in_the_old_subscription_comes_first() -> None:
    """It is closed then, and what it has lost is not forgotten."""
    before, after = Waiting(message(1), message(2)), Waiting(message(3))
    stream = EventStream({"in": InputConfig("a/b", "shm")}, {"in": before}, None)
    stream.change("in", after)
    assert stream.changing
    assert [("INPUT", 1), ("INPUT", 2), ("INPUT", 3)] == shown(stream)
    assert (True, False, False) == (before.closed, after.closed, stream.changing)
    assert (3, 4) == (stream.traffic()["in"].received, stream.traffic()["in"].dropped)
    stream.close()
    stream.change("in", Waiting())
    after.close()


def test_an_input_that_was_closed_recovers_by_its_new_way() -> None:
    """Its sender's end was in the old subscription, its new beginning is in the new one."""
    before, after = Waiting(message(1), message(0, Kind.CLOSED)), Waiting(message(2))
    other = Waiting()
    config = {"in": InputConfig("a/b", "shm"), "other": InputConfig("c/d", "shm")}
    stream = EventStream(config, {"in": before, "other": other}, None)
    stream.change("in", after)
    expected = [("INPUT", 1), ("INPUT_CLOSED", None), ("INPUT_RECOVERED", None), ("INPUT", 2)]
    assert expected == shown(stream)
    stream.close()
    for each in (after, other):
        each.close()


SENDER = """
import os, sys, time
import numpy
from dora import Node
node = Node()
print("zenoh" in sys.modules, flush=True)
number = 0
while not os.path.exists("end"):
    number += 1
    node.send_output("numbers", numpy.array([number]))
    if number % 20 == 0:
        with node.allocate_output("numbers", shape=1, dtype="int64") as sample:
            number += 1
            sample.array[0] = number
    time.sleep(0.005)  # readers have room for what comes in five seconds
print("sent", number, flush=True)
"""
READER = """
import sys
from dora import Node
node, last = Node(), 0
for event in node:
    if event["type"] == "INPUT":
        value = event["value"][0].as_py()
        if value <= last:
            print("again", value, flush=True)
        elif value != last + 1 and last:
            print("gap", last, value, flush=True)
        last = value
        if value % 50 < 2:
            print("at", value, "zenoh" in sys.modules, flush=True)
    else:
        print(event["type"], flush=True)
print("last", last, flush=True)
"""


def test_one_reader_of_two_changes_its_way(area: Playground) -> None:
    """While messages come: the other one misses nothing, and gets nothing twice. A process imports
    zenoh when it needs it."""
    area.node("sender", outputs=("numbers",), layer="shm")
    large = InputConfig("sender/numbers", "shm", queue_size=1000)
    for name in ("near", "far"):
        area.node(name, {"numbers": large})
    tell(area, far="shm")
    readers = [area.start(name, READER) for name in ("near", "far")]
    sender = area.start("sender", SENDER)
    sender.wait_for("False")  # its readers are there
    router = area.router()

    def has_zenoh(reader: Process) -> bool:
        return any(line.startswith("at") and line.endswith("True") for line in reader.lines())

    for way in ("zenoh", "shm", "zenoh", "shm"):
        heard = len(readers[1].lines())
        tell(area, far=way)
        time.sleep(0.6)  # both have looked
        wait_until(lambda h=heard: len(readers[1].lines()) > h + 2, f"numbers by {way}")
        wait_until(lambda: has_zenoh(readers[1]), "zenoh, which the first way needs")
    assert not has_zenoh(readers[0])
    router.kill()
    heard = len(readers[1].lines())
    wait_until(lambda: len(readers[1].lines()) > heard + 2, "numbers without a router")
    (area.folder / "end").touch()
    for process in (sender, *readers):
        assert 0 == process.wait(), process.text()
    assert "False" == sender.lines()[0]
    last = sender.lines()[-1].removeprefix("sent")
    assert f"last{last}" == readers[0].lines()[-1]
    assert [] == [it for it in readers[0].lines() if it.startswith(("gap", "again"))]


def test_who_waits_for_a_reader_that_reads_elsewhere_begins(area: Playground) -> None:
    """Its ways were changed meanwhile, so that it would wait in vain."""
    area.node("sender", outputs=("numbers",), layer="shm", barrier=10 * PATIENCE)
    for name in ("near", "far"):
        area.node(name, {"numbers": "sender/numbers"}, layer="shm")
    tell(area, far="shm")
    area.router()
    near = area.start("near", READER)
    sender = area.start("sender", SENDER)
    wait_until(lambda: threads(sender.pid) > 1, "the sender to wait")
    assert [] == sender.lines()
    tell(area, far="zenoh")
    far = area.start("far", READER)
    wait_until(lambda: len(far.lines()) > 2, "numbers by zenoh")
    (area.folder / "end").touch()
    assert [0, 0, 0] == [process.wait() for process in (sender, near, far)]


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def tell(area: Playground, *, far: str) -> None:
    """Writes the ways of all nodes anew, with `far` reading by this layer."""
    layers = tuple(sorted({"shm", far}))
    socket, folder = area.socket(), str(area.folder)
    whole = {
        "sender": NodeConfig("", "", "", outputs={"numbers": OutputConfig(layers)}),
        "near": NodeConfig("", "", "", inputs={"numbers": InputConfig("sender/numbers", "shm")}),
        "far": NodeConfig("", "", "", inputs={"numbers": InputConfig("sender/numbers", far)}),
    }
    ways = {name: NodeWays.of(replace(it, zenoh=socket, shm=folder)) for name, it in whole.items()}
    aside = Path(area.folder, "documents", "ways.new")
    aside.write_text(to_text(ways))
    aside.rename(aside.with_name(DOCUMENT))
