"""Producers and consumers that are killed, stopped, forked or greedy, at any moment."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dora.communication.base import Kind, Message, Publisher
from dora.communication.shm.layer import ShmLayer
from dora.communication.shm.publisher import ShmPublisher
from tests.dora.communication.shm.peers import Nursery, nursery
from tests.dora.communication.suite import ROUTE, T, readable, receive, settle
from tests.dora.harness import PATIENCE, wait_until

MIB = 1 << 20
KIB = 1 << 10


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Nursery]:
    with nursery(tmp_path) as peers:
        yield peers


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[ShmLayer]:
    layer = ShmLayer(str(tmp_path), limit=8 * MIB, chunk=MIB)
    yield layer
    layer.close()


def subscribers(publisher: Publisher, count: int) -> None:
    """Waits until exactly so many are connected."""
    wait_until(lambda: f" {count} subscribers" in repr(publisher), f"{count} subscribers")


def free(publisher: ShmPublisher, nbytes: int) -> int:
    """How many messages of so many bytes the pool has room for."""
    loans = []
    while (loan := publisher.allocate(nbytes)) is not None:
        loans.append(loan)
    return len(loans)


def test_what_a_killed_consumer_held_is_free(layer: ShmLayer, peers: Nursery) -> None:
    """All of it, as soon as it is gone, without a word from it."""
    publisher = layer.publish(ROUTE)
    before = free(publisher, 100 * KIB)
    consumer = peers.start("""
s = ShmLayer(FOLDER).subscribe(ROUTE, 100, "drop_oldest")
held = [wait(s).value() for _ in range(20)]
say(held=sum(len(a) for a in held))
time.sleep(600)
""")
    subscribers(publisher, 1)
    for _ in range(25):
        publisher.send(bytes(100 * KIB), {}, T)
    assert 20 * 100 * KIB == consumer.wait_for("held")
    assert free(publisher, 100 * KIB) <= before - 20
    consumer.kill()
    wait_until(lambda: free(publisher, 100 * KIB) == before, "all memory is free")


def test_a_stopped_consumer_does_not_hold_up_the_producer(layer: ShmLayer, peers: Nursery) -> None:
    """It finds the newest when it goes on; the rest is counted."""
    publisher = layer.publish(ROUTE)
    consumer = peers.start("""
s = ShmLayer(FOLDER).subscribe(ROUTE, 100, "drop_oldest")
say(first=wait(s).metadata["n"])
os.kill(os.getpid(), signal.SIGSTOP)
got = [wait(s).metadata["n"] for _ in range(100)]
say(got=got, dropped=s.dropped, more=s.receive() is not None)
time.sleep(600)
""")
    subscribers(publisher, 1)
    publisher.send(bytes(KIB), {"n": -1}, T)
    consumer.wait_for("first")
    status = Path(f"/proc/{consumer.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    for number in range(2000):
        publisher.send(bytes(KIB), {"n": number}, T)
    consumer.signal(signal.SIGCONT)
    assert list(range(1900, 2000)) == consumer.wait_for("got")
    assert {"dropped": 1900, "more": False} == {
        key: value for key, value in consumer.said()[-1].items() if key != "got"
    }


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGCONT])
def test_a_sender_that_waits_goes_on(layer: ShmLayer, peers: Nursery, end: int) -> None:
    """As soon as the consumer that asked for backpressure has room, or is dead."""
    publisher = layer.publish(ROUTE)
    consumer = peers.start("""
s = ShmLayer(FOLDER).subscribe(ROUTE, 5, "backpressure")
say(first=wait(s).metadata["n"])
os.kill(os.getpid(), signal.SIGSTOP)
say(got=[wait(s).metadata["n"] for _ in range(49)], dropped=s.dropped)
time.sleep(600)
""")
    subscribers(publisher, 1)
    sent: list[int] = []

    def send() -> None:
        for number in range(50):
            publisher.send(b"x", {"n": number}, T)
            sent.append(number)

    publisher.send(b"x", {"n": -1}, T)
    consumer.wait_for("first")
    status = Path(f"/proc/{consumer.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: len(sent) == 5, "the queue is full")
    time.sleep(0.2)
    assert 5 == len(sent)
    consumer.signal(end)
    sender.join(PATIENCE)
    assert 50 == len(sent)
    if end == signal.SIGCONT:
        assert list(range(49)) == consumer.wait_for("got")
        assert 0 == consumer.said()[-1]["dropped"]


def test_closing_ends_the_wait_of_a_sender(layer: ShmLayer, peers: Nursery) -> None:
    """A node that is asked to leave is not held by a reader that hangs."""
    publisher = layer.publish(ROUTE)
    peers.start("""
s = ShmLayer(FOLDER).subscribe(ROUTE, 1, "backpressure")
time.sleep(600)
""")
    subscribers(publisher, 1)
    publisher.send(b"x", {}, T)
    sender = threading.Thread(target=lambda: publisher.send(b"x", {}, T))
    sender.start()
    time.sleep(0.1)
    assert sender.is_alive()
    layer.close()
    sender.join(PATIENCE)
    assert not sender.is_alive()


READER = """
s = ShmLayer(FOLDER).subscribe(ROUTE, {size}, "{policy}")
rng = np.random.default_rng(os.getpid())
got, first, last, held = 0, None, -1, []
while (message := wait(s)).kind is not Kind.CLOSED:
    n = message.metadata["n"]
    array = message.value().to_numpy()
    assert n > last, (n, last)
    assert (array == n % 251).all(), n
    held = [*held, (n, array)][-{keep}:]
    assert all((a == m % 251).all() for m, a in held)
    first = n if first is None else first
    got, last = got + 1, n
    if {slow}:
        time.sleep(rng.random() / 1000)
say(got=got, first=first, last=last, dropped=s.dropped)
"""


def test_what_was_got_and_what_was_dropped_is_what_was_sent(
    layer: ShmLayer, peers: Nursery
) -> None:
    """Four readers with queues of their own kinds, while others come and are killed: order is
    kept, contents are intact, backpressure loses nothing."""
    publisher = layer.publish(ROUTE)
    kinds = [(1, "drop_oldest"), (3, "drop_oldest"), (100, "drop_oldest"), (5, "backpressure")]
    readers = [
        peers.start(READER.format(size=size, policy=policy, keep=4, slow=number % 2))
        for number, (size, policy) in enumerate(kinds)
    ]
    subscribers(publisher, 4)
    victims = [peers.start(READER.format(size=2, policy="drop_oldest", keep=9, slow=1))]
    rng = random.Random(1)
    count = 0
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        size = rng.choice([10, 1000, 5000, 70_000, 300_000])
        publisher.send(np.full(size, count % 251, np.uint8), {"n": count}, T)
        count += 1
        if rng.random() < 0.005:
            victims.pop().kill()
            victims.append(peers.start(READER.format(size=2, policy="drop_oldest", keep=9, slow=1)))
    publisher.finish()
    for reader in readers:
        result = reader.wait_for("got")
        said = reader.said()[-1]
        assert (count, count - 1) == (result + said["dropped"], said["last"])
    assert {"got": count, "first": 0, "last": count - 1, "dropped": 0} == readers[3].said()[-1]
    assert ", 0 refused" in repr(publisher)


PRODUCER = """
layer = ShmLayer(FOLDER, chunk=1 << 20)
p = layer.publish(ROUTE)
n = 0
while True:
    data = np.full(20_000 + n % 3, (os.getpid() + n) % 251, np.uint8)
    p.send(data, {"pid": os.getpid(), "n": n}, T)
    n += 1
    time.sleep(0.0002)
"""


def test_a_killed_producer_comes_back_and_harms_nothing(layer: ShmLayer, peers: Nursery) -> None:
    """What waits is still received in order, what is held stays as it is, new data comes by
    itself; a hundred times, and nothing grows."""
    subscription = layer.subscribe(ROUTE, 10, "drop_oldest")
    held: list[tuple[int, pa.Array]] = []
    sizes = []
    for round_ in range(100):
        producer = peers.start(PRODUCER)

        def of_this(pid: int = producer.pid) -> Message | None:
            message = subscription.receive()
            return message if message and message.metadata.get("pid") == pid else None

        last = -1
        for _ in range(5):
            message = wait_until(of_this, "data of the new producer")
            assert message.metadata["n"] > last
            last = message.metadata["n"]
        producer.kill()
        waiting = 0
        while readable(subscription, 0):
            left = subscription.receive()
            assert left is not None
            if left.kind is Kind.RESTARTED:
                break  # behind all that it sent
            assert left.metadata["n"] > last
            last = left.metadata["n"]
            expected = (producer.pid + last) % 251
            assert (left.value().to_numpy() == expected).all()
            held.append((expected, left.value()))
            waiting += 1
        assert waiting <= 10
        held = held[-20:]
        assert all((array.to_numpy() == expected).all() for expected, array in held)
        if round_ in (19, 99):
            held.clear()
            del left, message
            sizes.append(_sizes())
            held = []
    # The thread has to see the last one go, too.
    most = (sizes[0][0] + 2, sizes[0][1] + 5, *sizes[0][2:])
    wait_until(lambda: _within(most), f"{sizes[1]} does not fall to {most}")


def test_a_hundred_consumers_leave_nothing_behind(layer: ShmLayer, peers: Nursery) -> None:
    """Whether they close what they have, just end, or are killed holding it."""
    publisher = layer.publish(ROUTE)
    sizes = []
    for round_ in range(100):
        ending = ["layer.close(); say(bye=1); time.sleep(600)", "os._exit(0)", "time.sleep(600)"]
        consumer = peers.start(f"""
layer = ShmLayer(FOLDER)
s = layer.subscribe(ROUTE, 10, "drop_oldest")
array = wait(s).value()
say(n=len(array))
del array
{ending[round_ % 3]}
""")
        subscribers(publisher, 1)
        for _ in range(3):
            publisher.send(bytes(50_000), {}, T)
        assert 50_000 == consumer.wait_for("n")
        if round_ % 3 == 2:
            consumer.kill()
        subscribers(publisher, 0)
        if round_ % 3 == 0:
            consumer.wait_for("bye")
            consumer.kill()
        if round_ in (19, 99):
            sizes.append(_sizes())
    # The thread has to see the last one go, too.
    wait_until(lambda: _within(sizes[0]), f"{sizes[1]} does not fall to {sizes[0]}")
    assert free(publisher, 50_000) > 100


def _sizes() -> tuple[int, ...]:
    """Open files, mappings of shared memory and our threads; files in /dev/shm. What the allocators
    and the libraries of the process that runs all tests do meanwhile is not ours."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return (
        len(os.listdir("/proc/self/fd")),
        sum("/memfd:dora" in line for line in maps),
        threading.active_count(),
        sum(not name.endswith(".zenoh") for name in os.listdir("/dev/shm")),
    )


def _within(most: tuple[int, ...]) -> bool:
    return all(now <= then for now, then in zip(_sizes(), most, strict=True))


def test_a_hoarder_costs_messages_but_nothing_else(
    layer: ShmLayer, peers: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """When all memory is looked at, new messages are refused, counted and logged; small ones and
    those after it has gone arrive."""
    publisher = layer.publish(ROUTE)
    hoarder = peers.start("""
s = ShmLayer(FOLDER).subscribe(ROUTE, 5, "drop_oldest")
held = []
while "end" not in (message := wait(s)).metadata:
    if "n" in message.metadata:
        held.append(message.value())
intact = all((a.to_numpy() == a[0].as_py()).all() for a in held)
say(held=len(held), dropped=s.dropped, intact=intact)
time.sleep(600)
""")
    other = layer.subscribe(ROUTE, 1000, "drop_oldest")
    settle(publisher, other)
    subscribers(publisher, 2)
    while other.receive() is not None:
        pass
    before = other.dropped
    sent = itertools.count()

    def refused() -> bool:  # as soon as the hoarder has kept up with enough of them
        number = next(sent)
        publisher.send(np.full(MIB // 4, number % 251, np.uint8), {"n": number}, T)
        while other.receive() is not None:
            pass
        return "no shared memory for 262" in caplog.text

    wait_until(refused, "nothing is left")
    publisher.send(b"", {"end": True}, T)
    held = hoarder.wait_for("held")
    assert (True, True) == (0 < held < next(sent), hoarder.said()[-1]["intact"])
    assert other.dropped > before
    hoarder.kill()
    subscribers(publisher, 1)
    while other.receive() is not None:
        pass
    publisher.send(np.full(MIB // 4, 7, np.uint8), {"last": True}, T)
    assert receive(other).metadata["last"]


def test_memory_that_only_waits_is_taken_back(layer: ShmLayer) -> None:
    """A long queue of large messages loses its oldest when the pool is full, rather than the new
    ones."""
    publisher = layer.publish(ROUTE)
    subscription = layer.subscribe(ROUTE, 1000, "drop_oldest")
    settle(publisher, subscription)
    before = subscription.dropped
    for number in range(100):
        publisher.send(bytes(MIB // 3), {"n": number}, T)
    got = []
    while (message := subscription.receive()) is not None:
        got.append(message.metadata["n"])
    assert list(range(100))[-len(got) :] == got
    assert 100 == len(got) + subscription.dropped - before
    assert len(got) >= 10


def test_a_forked_child_releases_nothing_of_its_parent(layer: ShmLayer, peers: Nursery) -> None:
    """It has copies of all arrays; dropping them must not free what the parent looks at."""
    publisher = layer.publish(ROUTE)
    consumer = peers.start(
        """
layer = ShmLayer(FOLDER)
s = layer.subscribe(ROUTE, 3, "drop_oldest")
arrays = [wait(s).value() for _ in range(3)]
if (child := os.fork()) == 0:
    del arrays
    s.receive()
    layer.publish("flow/other/x").send(b"", {}, T)
    layer.close()
    os._exit(0)
say(child=os.waitpid(child, 0)[1])
while wait(s).metadata["n"] < 99:
    pass
say(intact=[set(array.to_numpy().tolist()) for array in arrays] == [{0}, {1}, {2}])
time.sleep(600)
"""
    )
    subscribers(publisher, 1)
    for number in range(3):
        publisher.send(np.full(10_000, number), {"n": number}, T)
    assert 0 == consumer.wait_for("child")
    for number in range(3, 100):
        publisher.send(np.full(10_000, number), {"n": number}, T)
        time.sleep(0.001)
    publisher.send(b"", {"n": 99}, T)
    assert consumer.wait_for("intact") is True


def test_a_child_does_not_keep_its_dead_parents_place(layer: ShmLayer, peers: Nursery) -> None:
    """Readers see the parent's end, and find the process that takes over."""
    subscription = layer.subscribe(ROUTE, 10, "drop_oldest")
    parent = peers.start("""
layer = ShmLayer(FOLDER)
p = layer.publish(ROUTE)
if (child := os.fork()) == 0:
    time.sleep(600)
    os._exit(0)
say(child=child)
while True:
    p.send(b"", {"pid": os.getpid()}, T)
    time.sleep(0.01)
""")
    child = parent.wait_for("child")
    try:
        assert parent.pid == receive(subscription).metadata["pid"]
        parent.kill()
        second = peers.start(PRODUCER)
        wait_until(
            lambda: (m := subscription.receive()) and m.metadata.get("pid") == second.pid,
            "its data",
        )
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_is_kept_outlives_the_subscription(peers: Nursery, layer: ShmLayer) -> None:
    """A consumer that has closed everything still looks: its regions are not used again."""
    publisher = layer.publish(ROUTE)
    consumer = peers.start("""
layer = ShmLayer(FOLDER)
s = layer.subscribe(ROUTE, 10, "drop_oldest")
arrays = [wait(s).value() for _ in range(3)]
layer.close()
say(closed=1)
while not os.path.exists(LOG + ".go"):
    time.sleep(0.01)
say(intact=all((a.to_numpy() == n).all() for n, a in enumerate(arrays)))
del arrays
time.sleep(600)
""")
    subscribers(publisher, 1)
    before = free(publisher, 100 * KIB)
    for number in range(3):
        publisher.send(np.full(12_800, number), {}, T)
    consumer.wait_for("closed")
    subscribers(publisher, 0)
    other = layer.subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, other)
    for number in range(100, 200):
        publisher.send(np.full(12_800, number), {}, T)
    assert free(publisher, 100 * KIB) < before
    other.close()
    Path(f"{consumer.log}.go").touch()
    assert consumer.wait_for("intact") is True
    wait_until(lambda: free(publisher, 100 * KIB) >= before, "all memory is free")


@pytest.mark.parametrize("returns", [False, True])
def test_a_death_ends_the_route_if_nobody_restarts_the_node(
    layer: ShmLayer, peers: Nursery, returns: bool
) -> None:
    """Readers of one that comes back just wait for it."""
    subscription = layer.subscribe(ROUTE, 10, "drop_oldest")
    producer = peers.start(f"""
layer = ShmLayer(FOLDER, returns={0 if returns else -1})
p = layer.publish(ROUTE)
while True:
    p.send(b"", {{}}, T)
    time.sleep(0.01)
""")
    receive(subscription)
    producer.kill()
    kinds = []

    def hear() -> bool:
        while (message := subscription.receive()) is not None:
            kinds.append(message.kind)
        return Kind.CLOSED in kinds

    if not returns:
        wait_until(hear, "the end")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        hear()
        readable(subscription, 0.1)
    assert (not returns) == (Kind.CLOSED in kinds)
    assert kinds.count(Kind.CLOSED) == kinds[-1:].count(Kind.CLOSED)
