"""The layer past routers, over TCP of loopback: as every layer, and what is its own."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dora.communication.base import Kind, Message, Subscription
from dora.communication.direct.calling import Call, want
from dora.communication.direct.layer import DirectLayer
from dora.communication.direct.listener import PARTING
from dora.communication.direct.subscription import WORD
from dora.communication.header import pack_closed, pack_notice
from dora.communication.layers import Layers
from dora.protocol.config import NodeConfig, OutputConfig
from tests.dora.communication.direct.switchboard import Switchboard, keys
from tests.dora.communication.suite import (
    ROUTE,
    LayerSuite,
    Pair,
    T,
    numbers,
    receive,
    send_numbers,
    settle,
)
from tests.dora.harness import Playground, playground, wait_until


@pytest.fixture(scope="module")
def area() -> Iterator[Playground]:
    with playground() as area:
        area.router()
        yield area


@pytest.fixture(params=["tls", "plain"])
def board(
    request: pytest.FixtureRequest, area: Playground, tmp_path: Path
) -> Iterator[Switchboard]:
    board = Switchboard(area.socket(), tmp_path, secret=request.param == "tls")
    yield board
    board.close()


@pytest.fixture
def plain(area: Playground, tmp_path: Path) -> Iterator[Switchboard]:
    board = Switchboard(area.socket(), tmp_path, secret=False)
    yield board
    board.close()


@pytest.fixture
def secret(area: Playground, tmp_path: Path) -> Iterator[Switchboard]:
    board = Switchboard(area.socket(), tmp_path, secret=True)
    yield board
    board.close()


@pytest.fixture
def pair(board: Switchboard) -> Pair:
    return board.node("node"), board.node("reader")


def until(subscription: Subscription, kind: Kind) -> list[Message]:
    """All messages up to the first of that kind."""
    found = [receive(subscription)]
    while found[-1].kind is not kind:
        found.append(receive(subscription))
    return found


class TestDirectLayer(LayerSuite):
    def test_a_slow_reader_holds_up_nobody_and_gets_the_newest(self, pair: Pair) -> None:
        """It does not look while 400 MB are sent; the other one reads the last of them."""
        publisher, slow = self.connect(pair, queue_size=2)
        quick = pair[1].subscribe(ROUTE, 2, "drop_oldest")
        settle(publisher, quick)
        found: list[int] = []

        def read() -> None:
            while not found or found[-1] < 399:
                found.append(receive(quick).metadata["n"])

        reading = threading.Thread(target=read)
        reading.start()
        for number in range(400):
            publisher.send(bytes(1_000_000), {"n": number}, T)
        reading.join()
        publisher.finish()
        assert 399 == until(slow, Kind.CLOSED)[-2].metadata["n"]
        assert slow.dropped > 300

    def test_what_is_read_late_is_kept_if_the_output_is_reliable(self, pair: Pair) -> None:
        """As much as its cache holds, in order; and the word that nothing more will come."""
        publisher = pair[0].publish(ROUTE, cache=10)  # type: ignore[call-arg]
        send_numbers(publisher, range(15))
        publisher.finish()
        late = pair[1].subscribe(ROUTE, 100, "drop_oldest")
        *data, end = until(late, Kind.CLOSED)
        assert list(range(5, 15)) == [message.metadata["n"] for message in data]
        assert Kind.CLOSED is end.kind

    def test_a_reader_of_a_reliable_output_leaves_what_it_has_no_room_for(self, pair: Pair) -> None:
        """However small its queue and however late it looks, it gets all that is kept."""
        publisher = pair[0].publish(ROUTE, cache=2000)  # type: ignore[call-arg]
        subscription = pair[1].subscribe(ROUTE, 2, "drop_oldest", cache=2000)  # type: ignore[call-arg]
        settle(publisher, subscription)
        for number in range(1000):
            publisher.send(bytes(20_000), {"n": number}, T)
        assert list(range(1000)) == numbers(subscription, 1000)
        assert 0 == subscription.dropped

    def test_a_reader_with_backpressure_holds_the_sender_back(self, pair: Pair) -> None:
        """It gets all of what is more than any buffer holds, though it is slower."""
        publisher, subscription = self.connect(pair, queue_size=2, policy="backpressure")

        def send() -> None:
            for number in range(300):
                publisher.send(bytes(200_000), {"n": number}, T)

        sending = threading.Thread(target=send)
        sending.start()
        for number in range(300):
            assert number == receive(subscription).metadata["n"]
            time.sleep(0.002)
        sending.join()
        assert 0 == subscription.dropped

    def test_a_router_speaks_for_a_node_that_died(self, pair: Pair, area: Playground) -> None:
        """After all that the node had sent, though that is read later."""
        publisher, subscription = self.connect(pair)
        send_numbers(publisher, range(3))
        died = pack_notice(Kind.FAILED, "1-2", "killed", T)
        for word in (died, pack_closed(T)):
            pair[1]._session.put("flow/@word/node/output", b"", attachment=word)  # type: ignore[attr-defined]
        pair[0].close()
        *data, failed = until(subscription, Kind.FAILED)
        assert [0, 1, 2] == [it.metadata["n"] for it in data if it.kind is Kind.DATA][:3]
        assert {"process": "1-2", "error": "killed"} == failed.metadata
        until(subscription, Kind.CLOSED)

    def test_much_metadata_arrives(self, pair: Pair) -> None:
        """A sender that keeps what it sent must not send in vain for ever."""
        publisher, subscription = self.connect(pair)
        publisher.send(b"", {"n": 1, "pad": "x" * 17_000_000}, T)
        publisher.send(b"", {"n": 2}, T)
        assert [1, 2] == numbers(subscription, 2)

    def test_a_routers_word_waits_for_what_a_full_queue_has_left_with_the_sender(
        self, pair: Pair
    ) -> None:
        """However long the reader takes for it: it has ended, and that was not all of it."""
        publisher = pair[0].publish(ROUTE, cache=100)  # type: ignore[call-arg]
        subscription = pair[1].subscribe(ROUTE, 10, "drop_oldest", cache=100)  # type: ignore[call-arg]
        settle(publisher, subscription)
        send_numbers(publisher, range(100))
        pair[1]._session.put("flow/@word/node/output", b"", attachment=pack_closed(T))  # type: ignore[attr-defined]
        found = []
        for _ in range(100):
            found.append(receive(subscription))
            time.sleep(2 * WORD / 100)
        assert list(range(100)) == [it.metadata.get("n") for it in found]
        assert Kind.CLOSED is receive(subscription).kind

    def test_the_end_of_a_node_waits_for_a_reader_that_is_slow(self, pair: Pair) -> None:
        """As long as it takes something: that is longer than one that takes nothing is given."""
        publisher = pair[0].publish(ROUTE, cache=300)  # type: ignore[call-arg]
        subscription = pair[1].subscribe(ROUTE, 5, "drop_oldest", cache=300)  # type: ignore[call-arg]
        settle(publisher, subscription)
        for number in range(300):
            publisher.send(bytes(100_000), {"n": number}, T)
        publisher.finish()
        ending = threading.Thread(target=pair[0].close)
        ending.start()
        for number in range(300):
            assert number == receive(subscription).metadata["n"]
            time.sleep(2 * PARTING / 300)
        assert Kind.CLOSED is receive(subscription).kind
        ending.join()

    def test_who_is_asked_to_stop_does_not_wait_for_slow_readers(self, pair: Pair) -> None:
        """What they have not taken by then is lost."""
        publisher = pair[0].publish(ROUTE, cache=300)  # type: ignore[call-arg]
        subscription = pair[1].subscribe(ROUTE, 5, "drop_oldest", cache=300)  # type: ignore[call-arg]
        settle(publisher, subscription)
        pair[0].heed(lambda: True)  # type: ignore[attr-defined]
        for number in range(300):
            publisher.send(bytes(100_000), {"n": number}, T)
        ending = threading.Thread(target=pair[0].close)
        ending.start()
        while ending.is_alive():
            subscription.receive()
            time.sleep(0.1)
        numbers = [it.metadata["n"] for it in iter(subscription.receive, None)]
        assert 299 not in numbers

    def test_a_sender_that_comes_back_is_called_again(self, pair: Pair, board: Switchboard) -> None:
        """By another process of the node, at the same place."""
        _, subscription = self.connect(pair)
        pair[0].close()
        again = board.node("node").publish(ROUTE)
        settle(again, subscription)
        again.send(b"", {"n": 7}, T)
        assert [7] == numbers(subscription, 1)

    def test_a_child_that_was_forked_keeps_no_connection(self, pair: Pair) -> None:
        """When the parent hangs up, the reader hears of it though the child lives on."""
        publisher, subscription = self.connect(pair)
        child = os.fork()
        if child == 0:
            try:
                threading.Event().wait(60)
            finally:
                os._exit(0)
        try:
            publisher.finish()
            pair[0].close()
            until(subscription, Kind.CLOSED)
            wait_until(
                lambda: subscription.receive() is None and "calling" in repr(subscription),
                "the end of the connection",
            )
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)

    def test_large_and_small_messages_mix(self, pair: Pair) -> None:
        """Whatever the sizes are to the buffers in between."""
        publisher, subscription = self.connect(pair, queue_size=1000)
        sizes = [0, 1, 32_767, 32_768, 65_000, 65_536, 70_000, 3, 5_000_000, 2] * 3
        rows = [np.arange(size, dtype=np.uint8) for size in sizes]

        def send() -> None:
            for i, row in enumerate(rows):
                publisher.send(row, {"i": i, "pad": "x" * (i * 10_000)}, T)

        sending = threading.Thread(target=send)
        sending.start()
        for i, row in enumerate(rows):
            message = receive(subscription)
            assert i == message.metadata["i"]
            assert np.array_equal(row, message.value().to_numpy())
        sending.join()


def test_strangers_are_let_in_by_neither_side(secret: Switchboard, tmp_path: Path) -> None:
    """A reader whose authority the sender does not trust; and a sender that the reader does not."""
    sender = secret.node("node")
    publisher = sender.publish(ROUTE)
    own = secret.links.authorities
    stranger = secret.node("stranger", keys(tmp_path, own, name="stranger"))
    careful = keys(tmp_path, name="careful")
    trusting = secret.node("careful", careful)
    refused = [it.subscribe(ROUTE, 10, "drop_oldest") for it in (stranger, trusting)]
    friend = secret.node("friend").subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, friend)
    publisher.send(b"", {"n": 1}, T)
    assert [1] == numbers(friend, 1)
    assert {"friend/in": 1} == dict(sender.readers(ROUTE))
    assert [None, None] == [it.receive() for it in refused]


def test_a_layer_that_is_open_learns_whom_to_trust(
    secret: Switchboard, area: Playground, tmp_path: Path
) -> None:
    """Nodes that move come from machines that were strangers; on both sides."""
    config = NodeConfig("flow", "", "node", zenoh=area.socket(), links=secret.links)
    layers = Layers(config, returns=0)
    try:
        publisher = layers.publish("direct", ROUTE, OutputConfig(("direct",)))
        own = secret.links.authorities
        stranger = secret.node("stranger", keys(tmp_path, name="stranger"))
        there = stranger.subscribe(ROUTE, 10, "drop_oldest")
        known = own + stranger._secrecy._links.authorities
        assert {} == dict(layers.direct.readers(ROUTE))  # type: ignore[union-attr]
        layers.follow(replace(config, links=replace(secret.links, authorities=known)))
        stranger.trust(replace(stranger._secrecy._links, authorities=known))
        settle(publisher, there)
    finally:
        layers.close()


def test_a_reader_that_is_busy_for_long_gets_the_newest(plain: Switchboard) -> None:
    """Though its kernel has taken nothing for longer than a dead link is given."""
    sender = plain.node("node")
    publisher = sender.publish(ROUTE)
    busy = plain.node("reader").subscribe(ROUTE, 1, "drop_oldest")
    settle(publisher, busy)
    for number in range(60):
        publisher.send(bytes(1_000_000), {"n": number}, T)
        time.sleep(0.1)
    wait_until(lambda: receive(busy).metadata["n"] == 59, "the newest")
    assert {"reader/in": 1} == dict(sender.readers(ROUTE))


def test_what_a_node_does_not_send_is_asked_for_now_and_then(
    plain: Switchboard, caplog: pytest.LogCaptureFixture
) -> None:
    """And told once. When the node begins to send it, it comes."""
    sender = plain.node("node")
    sender.publish(ROUTE)
    early = plain.node("reader").subscribe(f"{ROUTE}/later", 10, "drop_oldest")
    wait_until(lambda: caplog.records, "the refusal")
    assert "calling" in repr(early)
    settle(sender.publish(f"{ROUTE}/later"), early)
    assert [f"a reader was not let in: reader/in wants {ROUTE}/later, which is not sent here"] == [
        it.getMessage() for it in caplog.records
    ]


def test_readers_that_come_and_go_leave_nothing(plain: Switchboard) -> None:
    """Whatever is sent to them meanwhile: no descriptor, no thread, no line."""
    host, _, port = plain.at.rpartition(":")
    sender = plain.node("node")
    publisher = sender.publish(ROUTE)

    def reset_some() -> None:
        for _ in range(100):
            with socket.create_connection((host, int(port)), 10) as reader:
                reader.sendall(want("node") + Call(ROUTE, "reader/in").to_bytes())
                reader.recv(100)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    before = len(os.listdir("/proc/self/fd"))
    resetting = threading.Thread(target=reset_some)
    resetting.start()
    while resetting.is_alive():
        publisher.send(bytes(100_000), {}, T)
    wait_until(lambda: "for 0 lines" in repr(sender._listener), "the end of all lines")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors back")
    last = plain.node("last").subscribe(ROUTE, 1, "drop_oldest")
    settle(publisher, last)


SAID = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "long name": b"DORA1\xff",
    "nobody": b"DORA1\x04nobo",
    "nothing": b"",
    "noughts": bytes(5000),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_whatever_comes_to_the_door_is_shown_out(plain: Switchboard, said: bytes) -> None:
    """Who says nothing sensible, after a while; and nobody else waits for that."""
    host, _, port = plain.at.rpartition(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(said)
        publisher = plain.node("node").publish(ROUTE)
        subscription = plain.node("reader").subscribe(ROUTE, 10, "drop_oldest")
        settle(publisher, subscription)
        caller.settimeout(30)
        try:
            assert b"" == caller.recv(1)
        except ConnectionResetError:
            pass  # shown out before all was read


def test_nobody_can_be_called_without_an_address(plain: Switchboard) -> None:
    """The message says which route."""
    with pytest.raises(ValueError, match="flow/node/output"):
        DirectLayer.subscribe(plain.node("reader"), ROUTE, 1, "drop_oldest")
