"""The layer between machines, through a real router."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zenoh

from dora.communication.base import Kind
from dora.communication.zenoh.layer import ZenohLayer
from tests.dora.communication.suite import (
    ROUTE,
    LayerSuite,
    Pair,
    T,
    numbers,
    readable,
    receive,
    send_numbers,
    settle,
)
from tests.dora.harness import KILL, PATIENCE, ROOT, Playground, playground, wait_until


@pytest.fixture(scope="module")
def area() -> Iterator[Playground]:
    with playground() as area:
        area.router()
        yield area


@pytest.fixture
def pair(area: Playground) -> Iterator[Pair]:
    layers = ZenohLayer(area.socket()), ZenohLayer(area.socket())
    yield layers
    for layer in layers:
        layer.close()


class TestZenohLayer(LayerSuite):
    lossy = True

    def test_messages_of_strangers_are_passed_over(self, pair: Pair, area: Playground) -> None:
        """Whatever somebody puts on a route, the reader goes on."""
        publisher, subscription = self.connect(pair)
        stranger = ZenohLayer(area.socket())
        session: zenoh.Session = stranger.session
        header = b"\2\0\5" + bytes(16) + b"int64"
        for payload, attachment in (
            (b"x", None),
            (b"x", b"garbage"),
            (b"odd", header),
            (b"", header + b"[]"),
            (b"", b"\2\0\3" + bytes(16) + b"xyz"),
        ):
            session.put(ROUTE, payload, attachment=attachment)
        stranger.publish(ROUTE).send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)
        stranger.close()
        publisher.send(b"", {"n": 2}, T)
        assert [2] == numbers(subscription, 1)

    @pytest.mark.parametrize("size", [1, 300_000])
    def test_whatever_does_not_come_is_counted(self, pair: Pair, size: int) -> None:
        """Of a burst as fast as it goes, the reader gets the newest, and knows of all others."""
        publisher, subscription = self.connect(pair, queue_size=50)
        before = subscription.dropped
        count = 20_000 if size == 1 else 200
        data = bytes(size)
        for number in range(count):
            publisher.send(data, {"n": number}, T)
        publisher.finish()
        wait_until(lambda: subscription.dropped - before >= count - 50, "the rest is dropped")
        found = []
        while (message := receive(subscription)).kind is Kind.DATA:
            found.append(message.metadata["n"])
        assert found == sorted(found)
        assert count == len(found) + subscription.dropped - before

    def test_a_burst_that_fits_the_queue_arrives_whole(self, pair: Pair) -> None:
        """Small messages, faster than anything takes them, many times over."""
        publisher, subscription = self.connect(pair, queue_size=1000)
        before = subscription.dropped  # while they were connected
        for _ in range(20):
            send_numbers(publisher, range(1000))
            assert list(range(1000)) == numbers(subscription, 1000)
        assert before == subscription.dropped

    def test_a_reliable_route_begins_with_what_its_sender_keeps(self, area: Playground) -> None:
        """A reader that comes late gets the last of it, in order, then what follows."""
        sending, receiving = ZenohLayer(area.socket()), ZenohLayer(area.socket())
        try:
            publisher = sending.publish("flow/node/kept", cache=5)
            early = receiving.subscribe("flow/node/kept", 100, "drop_oldest", cache=5)
            settle(publisher, early)
            send_numbers(publisher, range(10))
            assert list(range(10)) == numbers(early, 10)
            subscription = receiving.subscribe("flow/node/kept", 100, "drop_oldest", cache=5)
            assert list(range(5, 10)) == numbers(subscription, 5)
            send_numbers(publisher, range(10, 20))
            publisher.finish()
            assert list(range(10, 20)) == numbers(subscription, 10)
            assert Kind.CLOSED == receive(subscription).kind
            assert 0 == subscription.dropped
        finally:
            sending.close()
            receiving.close()

    def test_a_reader_of_replicas_begins_with_what_each_of_them_keeps(
        self, area: Playground
    ) -> None:
        """Each in its own order, and a new process of one of them follows its last one."""
        sending, receiving = ZenohLayer(area.socket()), ZenohLayer(area.socket())

        def senders(subscription: Any, count: int) -> list[list[int]]:
            came = [receive(subscription).metadata for _ in range(count)]
            return [[it["n"] for it in came if it["replica"] == k] for k in (1, 2)]

        try:
            publishers = [sending.publish(f"flow/many.{k}/kept", cache=3) for k in (1, 2)]
            early = receiving.join("flow/many/kept", 100, "drop_oldest", cache=3)
            for publisher in publishers:
                settle(publisher, early)
            for publisher in publishers:
                send_numbers(publisher, range(5))
            assert [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]] == senders(early, 10)
            subscription = receiving.join("flow/many/kept", 100, "drop_oldest", cache=3)
            assert [[2, 3, 4], [2, 3, 4]] == senders(subscription, 6)
            publishers[0].close()
            publishers[0] = sending.publish("flow/many.1/kept", cache=3)
            for publisher in publishers:
                send_numbers(publisher, range(5, 8))
            assert [[5, 6, 7], [5, 6, 7]] == senders(subscription, 6)
            assert 0 == subscription.dropped
        finally:
            sending.close()
            receiving.close()

    def test_a_plain_reader_hears_a_reliable_sender(self, pair: Pair) -> None:
        """As between two generations of which only one has changed."""
        layer: Any = pair[0]
        publisher = layer.publish(ROUTE, cache=5, priority="realtime")
        subscription = pair[1].subscribe(ROUTE, 10, "drop_oldest")
        settle(publisher, subscription)
        send_numbers(publisher, range(3))
        assert [0, 1, 2] == numbers(subscription, 3)

    def test_a_value_that_lies_about_itself_raises_where_it_is_used(
        self, pair: Pair, area: Playground
    ) -> None:
        """A ValueError, no crash."""
        _, subscription = self.connect(pair)
        layer = pair[0]
        assert isinstance(layer, ZenohLayer)
        layer.session.put(ROUTE, b"garbage", attachment=b"\2\0\3" + bytes(16) + b"ipc")
        message = receive(subscription)
        with pytest.raises(ValueError, match="Arrow"):
            message.value()


def test_data_flows_again_after_the_router_was_killed() -> None:
    """Publisher and subscription reconnect by themselves, and sending meanwhile is harmless."""
    with playground() as area:
        router = area.router()
        layer, other = ZenohLayer(area.socket()), ZenohLayer(area.socket())
        try:
            subscription = other.subscribe(ROUTE, 10, "drop_oldest")
            publisher = layer.publish(ROUTE)
            settle(publisher, subscription)
            router.signal(KILL)
            router.wait()
            publisher.send(b"", {"n": 0}, T)
            area.router()
            settle(publisher, subscription)
            send_numbers(publisher, range(3))
            assert [0, 1, 2] == numbers(subscription, 3)
        finally:
            layer.close()
            other.close()


SUBSCRIBE = f"""
import sys
from dora.communication.zenoh.layer import ZenohLayer
layer = ZenohLayer(sys.argv[1])
subscription = layer.subscribe({ROUTE!r}, 10, "drop_oldest")
print("subscribed", flush=True)
sys.stdin.read()
layer.close()
"""


def test_a_hung_subscriber_stalls_nobody(pair: Pair, area: Playground) -> None:
    """Neither the publisher, nor the other subscriber of the same router."""
    hung = subprocess.Popen(
        [sys.executable, "-c", SUBSCRIBE, area.socket()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert hung.stdout is not None
        assert b"subscribed\n" == hung.stdout.readline()
        subscription = pair[1].subscribe(ROUTE, 1000, "drop_oldest")
        publisher = pair[0].publish(ROUTE)
        settle(publisher, subscription)
        os.kill(hung.pid, signal.SIGSTOP)
        data = bytes(1_000_000)
        slowest = 0.0
        found = []
        for number in range(100):
            started = time.monotonic()
            publisher.send(data, {"n": number}, T)
            slowest = max(slowest, time.monotonic() - started)
            # What a busy machine has not delivered yet is no reason to drop the next.
            if readable(subscription, 1):
                found.append(receive(subscription).metadata["n"])
        publisher.send(b"", {"n": -1}, T)
        while (number := receive(subscription).metadata["n"]) != -1:
            found.append(number)
        # Under backpressure sends take the lease (2 s) or zenoh's 5 s; drops hit the hung one.
        assert slowest < 2
        assert 90 <= len(found)
    finally:
        os.kill(hung.pid, signal.SIGCONT)
        assert hung.stdin is not None
        assert hung.stdout is not None
        hung.stdin.close()
        hung.stdout.close()
        hung.wait()


WAIT_FOR_ROUTER = """
import signal, sys
from dora.communication.zenoh.layer import ZenohLayer
signal.signal(signal.SIGINT, signal.default_int_handler)
print("waiting", flush=True)
layer = ZenohLayer(sys.argv[1])
print("open", flush=True)
layer.close()
"""


def test_a_client_waits_for_its_router_and_can_be_interrupted() -> None:
    """It opens when the router comes, and Ctrl-C ends the wait at once."""
    with playground() as area:
        argv = [sys.executable, "-c", WAIT_FOR_ROUTER, area.socket()]
        patient, hasty = (
            subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(2)
        )
        with patient, hasty, ExitStack() as ending:
            for process in (patient, hasty):
                ending.callback(process.kill)
            assert hasty.stdout is not None
            assert patient.stdout is not None
            assert b"waiting\n" == hasty.stdout.readline()
            time.sleep(0.3)
            hasty.send_signal(signal.SIGINT)
            assert -signal.SIGINT == hasty.wait(PATIENCE)
            area.router()
            assert b"waiting\nopen\n" == patient.stdout.read()
            assert 0 == patient.wait(PATIENCE)


def test_no_shared_memory_of_zenohs_own_is_used(pair: Pair, area: Playground) -> None:
    """It would stay behind killed processes: neither client nor router maps any."""
    publisher = pair[0].publish(ROUTE)
    subscription = pair[1].subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, subscription)
    publisher.send(bytes(1_000_000), {}, T)
    receive(subscription)
    for pid in (os.getpid(), area.processes[0].pid):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "zenoh.abi3.so" in maps
        assert [] == [line for line in maps.splitlines() if line.endswith(".zenoh")]
