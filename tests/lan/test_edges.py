"""Edges between machines: what a cut, a killed router or a slow reader does, and does not do."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator

import numpy as np
import pytest

from dora.protocol.config import BULK
from tests.dora.communication.suite import receive, settle
from tests.lan.bench import Lan, wait_until
from tests.lan.dataplane import DataPlane, Reader, Sender, data_plane, undisturbed

DROP, RELIABLE = "flow/a/drop", "flow/a/reliable"
CACHE = 1000
# Seconds; who waited for a link that is cut or full, for longer than that, would be held up more.
HELD_UP = 4


@pytest.fixture
def plane(lan: Lan) -> Iterator[DataPlane]:
    with data_plane(lan) as plane:
        yield plane


class Flows:
    """Robot 1 sends on two routes at 50 Hz, robots 2 and 3 read both: undisturbed since the message
    with the number `begin`."""

    def __init__(self, plane: DataPlane, cache: int = CACHE) -> None:
        at = {i: plane.layer(i) for i in plane.lan.robots}
        drop = at[1].publish(DROP)
        reliable = at[1].publish(RELIABLE, cache=cache)
        subscriptions = {
            (i, route): at[i].subscribe(route, 2 * cache, "drop_oldest", cache=keeps)
            for i in (2, 3)
            for route, keeps in ((DROP, 0), (RELIABLE, cache))
        }
        settle(drop, *(subscriptions[i, DROP] for i in (2, 3)))
        settle(reliable, *(subscriptions[i, RELIABLE] for i in (2, 3)))
        self.readers = {key: Reader(it) for key, it in subscriptions.items()}
        self.sender = Sender(drop, reliable, hz=50)
        for key in self.readers:
            self.flowing(*key)
        self.begin = undisturbed(self.sender, *self.readers.values())

    def flowing(self, robot: int, route: str) -> None:
        """Returns when a message came that was not there before."""
        reader = self.readers[robot, route]
        before = len(reader.found)
        wait_until(lambda: len(reader.found) > before, f"robot {robot} hears {route}")

    def end(self) -> int:
        """How many were sent; returns once the last has arrived everywhere."""
        sent = self.sender.end()
        for key, reader in self.readers.items():
            wait_until(lambda: sent - 1 in reader.numbers, f"{key} hears the last")  # noqa: B023
            reader.end()
        return sent


@pytest.mark.parametrize("cause", ["cut", "router"])
def test_a_silent_cut_and_a_killed_router_heal_by_themselves(plane: DataPlane, cause: str) -> None:
    """Afterwards data flows again, on reliable edges nothing is missing, twice or out of order, and
    meanwhile the other machine hears everything."""
    flows = Flows(plane)
    try:
        if cause == "cut":
            plane.lan.cut(2)
            time.sleep(8)
            plane.lan.heal(2)
        else:
            plane.kill_router(2)
            time.sleep(1)
            plane.start_router(2)
        for route in (DROP, RELIABLE):
            flows.flowing(2, route)
        sent = flows.end()
        everything = list(range(sent))
        assert everything == flows.readers[2, RELIABLE].numbers
        assert everything == flows.readers[3, RELIABLE].numbers
        others = flows.readers[3, DROP].numbers
        assert everything[flows.begin :] == [number for number in others if number >= flows.begin]
        heard = flows.readers[2, DROP].numbers
        assert heard == sorted(set(heard))
        # What the cut has cost is known, once something came behind it.
        assert sent - len(heard) == flows.readers[2, DROP].subscription.dropped
        assert 0 == flows.readers[2, RELIABLE].subscription.dropped
        assert flows.sender.slowest < HELD_UP
    finally:
        flows.sender.end()


def test_what_is_older_than_the_cache_is_lost_counted_and_told_once(
    plane: DataPlane, caplog: pytest.LogCaptureFixture
) -> None:
    """With its number, and what to do."""
    flows = Flows(plane, cache=20)
    try:
        with caplog.at_level(logging.WARNING):
            plane.lan.cut(2)
            time.sleep(4)
            plane.lan.heal(2)
            for route in (DROP, RELIABLE):
                flows.flowing(2, route)
            sent = flows.end()
        heard = flows.readers[2, RELIABLE].numbers
        lost = sent - len(heard)
        assert heard == sorted(set(heard))
        assert lost > 0
        assert lost == flows.readers[2, RELIABLE].subscription.dropped
        assert 1 == len(
            [r for r in caplog.records if f"{lost} messages of {RELIABLE}" in r.getMessage()]
        )
    finally:
        flows.sender.end()


@pytest.mark.parametrize("mbit", [None, 200])
def test_a_message_of_100_mb_arrives(plane: DataPlane, mbit: float | None) -> None:
    """On a link of any speed, and with what it was sent."""
    publisher = plane.layer(1).publish(DROP)
    subscription = plane.layer(2).subscribe(DROP, 1, "drop_oldest")
    settle(publisher, subscription)
    plane.lan.rate(2, mbit)
    value = np.arange(100_000_000 // 8)
    publisher.send(value, {"n": 1}, 1)
    message = receive(subscription)
    assert np.array_equal(value, message.value().to_numpy())
    assert 0 == subscription.dropped


def test_a_slow_link_stalls_nobody(plane: DataPlane) -> None:
    """20 MB/s for a link of 20 Mbit/s: the producer goes on, and the others hear it; flows that use
    other links lose nothing. What the slow link could not carry is counted there."""
    robots = {i: plane.layer(i) for i in plane.lan.robots}
    # As `bulk`: or the small ones would share a queue that 20 MB/s fill on a busy machine.
    big = robots[1].publish("flow/a/big", priority=BULK)
    other = plane.layer(1).publish("flow/b/small")
    big_at = {i: robots[i].subscribe("flow/a/big", 10, "drop_oldest") for i in (2, 3)}
    other_at = {i: robots[i].subscribe("flow/b/small", 1000, "drop_oldest") for i in (1, 3)}
    settle(big, *big_at.values())
    settle(other, *other_at.values())
    plane.lan.rate(2, 20)
    readers = {("big", i): Reader(it) for i, it in big_at.items()}
    readers |= {("other", i): Reader(it) for i, it in other_at.items()}
    small = Sender(other, hz=50)
    begin = undisturbed(small, *(readers["other", i] for i in other_at))
    senders = Sender(big, hz=20, value=bytes(1_000_000)), small
    time.sleep(5)
    sent_big, sent_other = (sender.end() for sender in senders)
    for i in (1, 3):
        wait_until(lambda: sent_other - 1 in readers["other", i].numbers, "the last")  # noqa: B023
        came = readers["other", i].numbers
        assert list(range(begin, sent_other)) == [number for number in came if number >= begin]
    slow, fast = (readers["big", i] for i in (2, 3))
    behind = 0  # what comes after a message tells whether that was lost

    def all_is_told() -> bool:
        nonlocal behind
        big.send(b"x", {"n": sent_big}, 1)
        behind += 1
        time.sleep(0.1)
        return sent_big + behind == len(fast.found) + fast.subscription.dropped

    wait_until(all_is_told, "what became of all big ones")
    for reader in readers.values():
        reader.end()
    # A link of 20 Mbit/s carries 12 of them in that time; the producer is not bound to its pace.
    counts = [len([it for it in reader.numbers if it < sent_big]) for reader in (slow, fast)]
    assert counts[0] < sent_big
    assert counts[1] > 2 * counts[0]
    assert senders[0].slowest < HELD_UP


def test_a_cut_link_stalls_nobody_with_large_messages(plane: DataPlane) -> None:
    """Not longer than its first message behind the cut waits: the others hear nearly all."""
    robots = {i: plane.layer(i) for i in plane.lan.robots}
    publisher = robots[1].publish(DROP)
    readers = {i: robots[i].subscribe(DROP, 10, "drop_oldest") for i in (2, 3)}
    settle(publisher, *readers.values())
    reader = Reader(readers[3])
    sender = Sender(publisher, hz=10, value=bytes(1_000_000))
    plane.lan.cut(2)
    time.sleep(5)
    sent = sender.end()
    wait_until(lambda: sent - 1 in reader.numbers, "the last")
    reader.end()
    assert len(reader.found) > 0.7 * sent
    assert sender.slowest < HELD_UP


def test_readers_of_one_machine_cost_one_transfer(plane: DataPlane) -> None:
    """Counted in bytes: three readers on one machine as much as one, each machine once."""
    size, count = 200_000, 20
    publisher = plane.layer(1).publish(DROP)
    subscriptions = [plane.layer(i).subscribe(DROP, 100, "drop_oldest") for i in (2, 2, 2, 3)]
    settle(publisher, *subscriptions)
    readers = [Reader(subscription) for subscription in subscriptions]
    before = {i: plane.lan.traffic(i) for i in plane.lan.robots}
    sender = Sender(publisher, hz=50, value=bytes(size))
    wait_until(lambda: sender.sent >= count, "all are sent")
    sent = sender.end()
    for reader in readers:
        wait_until(lambda: sent - 1 in reader.numbers, "the last")  # noqa: B023
        reader.end()
    to = {i: plane.lan.traffic(i)[0] - before[i][0] for i in plane.lan.robots}
    away = plane.lan.traffic(1)[1] - before[1][1]
    volume = sent * size
    assert [True, True] == [volume < to[i] < 1.3 * volume for i in (2, 3)], (to, volume)
    assert 2 * volume < away < 2.6 * volume


def test_urgent_messages_overtake_bulk(plane: DataPlane) -> None:
    """Beside large messages that fill a link of 100 Mbit/s, `high` ones wait a fraction of the time
    that they would wait among their like, and all of them arrive. (Of `normal` ones a full link may
    lose some.)"""
    waits = {}
    plane.lan.rate(1, 100)
    for urgent, large in (("normal", "normal"), ("high", "bulk")):
        small, bulk = f"flow/{urgent}/small", f"flow/{large}/large"
        sending, receiving = plane.layer(1), plane.layer(2)
        publisher = plane.layer(1).publish(small, priority=urgent)
        flood = sending.publish(bulk, priority=large)
        subscription = receiving.subscribe(small, 1000, "drop_oldest")
        sink = receiving.subscribe(bulk, 1, "drop_oldest")
        settle(publisher, subscription)
        settle(flood, sink)
        reader, emptied = Reader(subscription), Reader(sink)
        sender = Sender(flood, hz=30, value=bytes(4_000_000))
        wait_until(lambda: emptied.found, "bulk")  # noqa: B023
        sent = {}
        for number in range(100):
            sent[number] = time.monotonic()
            publisher.send(b"stop", {"n": number}, 1)
            time.sleep(0.02)
        if urgent == "high":
            wait_until(lambda: 99 in reader.numbers, "the last")  # noqa: B023
            assert list(range(100)) == reader.numbers
        sender.end()
        reader.end()
        emptied.end()
        assert len(reader.found) >= 50
        waits[urgent] = statistics.median(at - sent[number] for number, at in reader.found)
    assert 3 * waits["high"] < waits["normal"], waits


@pytest.fixture
def directly(plane: DataPlane) -> Iterator[tuple[Reader, Reader, Sender]]:
    """A node of robot 1 sends at 50 Hz; one of robot 2 reads it past the routers."""
    there, here = plane.direct(1, "a"), plane.direct(2, "b")
    publishers = there.publish(DROP), there.publish(RELIABLE, cache=CACHE)
    subscriptions = [
        here.subscribe(route, CACHE, "drop_oldest", at=plane.door(1), name=route)
        for route in (DROP, RELIABLE)
    ]
    for publisher, subscription in zip(publishers, subscriptions, strict=True):
        settle(publisher, subscription)
    drop, reliable = (Reader(it) for it in subscriptions)
    sender = Sender(*publishers, hz=50)
    yield drop, reliable, sender
    sender.end()
    drop.end()
    reliable.end()


def _more(reader: Reader) -> None:
    before = len(reader.found)
    wait_until(lambda: len(reader.found) > before + 20, "more data over the direct link")


def test_a_direct_link_outlives_the_routers(
    plane: DataPlane, directly: tuple[Reader, Reader, Sender]
) -> None:
    """Of both machines; nothing is lost meanwhile."""
    drop, reliable, sender = directly
    _more(drop)
    for i in (1, 2):
        plane.kill_router(i)
    _more(drop)
    for i in (1, 2):
        plane.start_router(i)
    _more(drop)
    sent = sender.end()
    for reader in (drop, reliable):
        wait_until(lambda: sent - 1 in reader.numbers, "the last")  # noqa: B023
        assert list(range(sent)) == reader.numbers


@pytest.mark.parametrize("seconds", [1.5, 7])
def test_a_direct_link_that_is_cut_heals_by_itself(
    plane: DataPlane, directly: tuple[Reader, Reader, Sender], seconds: float
) -> None:
    """Reliable edges get all in order; the others go on with what is new. The sender is not held
    up."""
    drop, reliable, sender = directly
    _more(drop)
    plane.lan.cut(1)
    time.sleep(seconds)
    plane.lan.heal(1)
    _more(drop)
    sent = sender.end()
    for reader in (drop, reliable):
        wait_until(lambda: sent - 1 in reader.numbers, "the last")  # noqa: B023
    assert list(range(sent)) == reliable.numbers
    assert sorted(set(drop.numbers)) == drop.numbers
    assert sender.slowest < HELD_UP
