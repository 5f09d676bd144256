"""Peers that do not keep to the rules: a warning, and everybody else goes on."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.shm.address import dial, listen, path_of
from dora.communication.shm.arena import Arena
from dora.communication.shm.handshake import Leave, Subscribe, Welcome, receive_word, send_word
from dora.communication.shm.layer import ShmLayer
from dora.communication.shm.record import DATA, PAGE, RECORD
from dora.communication.shm.subscription import ShmSubscription
from dora.communication.shm.table import create_table
from dora.communication.shm.values import FIRST_SCHEMA, UINT8
from tests.dora.communication.suite import ROUTE, T, numbers, receive, settle
from tests.dora.harness import wait_until


class Producer:
    """Speaks the protocol by hand."""

    def __init__(self, folder: Path) -> None:
        self.listener = listen(path_of(str(folder), "node"), None)
        self.arena = Arena()
        self.chunk = self.arena.extend(1 << 16)
        self.peer: socket.socket | None = None

    def accept(self, arena: int | None = None) -> None:
        peer = wait_until(self._accept, "a reader")
        word, fds = wait_until(lambda: _word(peer), "its word")
        assert isinstance(word, Subscribe)
        self.epoch = word.epoch
        self.pipe = fds[0]
        for fd in fds[1:]:
            os.close(fd)
        given = self.arena.open_for_reading() if arena is None else arena
        send_word(peer, Welcome(0, "p"), [given])
        os.close(given)
        self.peer = peer

    def write(self, data: bytes) -> None:
        os.write(self.pipe, data)

    def record(self, **fields: int) -> bytes:
        good = {
            "epoch": self.epoch,
            "kind": DATA,
            "flags": 0,
            "reserved": 0,
            "timestamp": T,
            "offset": self.chunk.offset,
            "length": 8,
            "slot": 0,
            "form": UINT8,
            "generation": 1,
            "metadata": 0,
            "unused": 0,
            "chunk": self.chunk.first,
            "pages": self.chunk.pages,
        }
        return RECORD.pack(*(good | fields).values())

    def _accept(self) -> socket.socket | None:
        try:
            return self.listener.socket.accept()[0]
        except BlockingIOError:
            return None

    def close(self) -> None:
        if self.peer is not None:
            self.peer.close()
            os.close(self.pipe)
        self.listener.close()
        self.arena.close()


def _word(peer: socket.socket) -> object:
    try:
        return receive_word(peer)
    except BlockingIOError:
        return None


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[ShmLayer]:
    layer = ShmLayer(str(tmp_path), chunk=1 << 20)
    yield layer
    layer.close()


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    producer = Producer(tmp_path)
    yield producer
    producer.close()


@pytest.fixture
def subscription(layer: ShmLayer, producer: Producer) -> ShmSubscription:
    subscription = layer.subscribe(ROUTE, 100, "drop_oldest")
    producer.accept()
    return subscription


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"offset": 0}, "not in their chunk"),
        ({"offset": 1 << 40}, "not in their chunk"),
        ({"length": 1 << 40}, "not in their chunk"),
        ({"length": (1 << 64) - 8}, "not in their chunk"),
        ({"metadata": (1 << 32) - 1}, "not in their chunk"),
        ({"pages": 0}, "in an arena of"),
        ({"pages": 1 << 31}, "in an arena of"),
        ({"chunk": 1 << 31}, "in an arena of"),
        ({"chunk": 17}, "in an arena of"),
        ({"pages": 15}, "overlaps another one"),
        ({"slot": 1 << 31}, "slot"),
        ({"form": 0}, "unknown form 0"),
        ({"form": 200}, "unknown form 200"),
        ({"form": UINT8 + 2, "length": 7}, "no whole number"),
        ({"kind": 2}, "a record of kind 2"),
        ({"kind": 77}, "a record of kind 77"),
        ({"epoch": 77}, "unknown epoch 77"),
        ({"epoch": 0}, "unknown epoch 0"),
        ({"metadata": 8}, "metadata is no JSON"),
    ],
    ids=str,
)
def test_records_that_lie_are_thrown_away(
    subscription: ShmSubscription,
    producer: Producer,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, int],
    said: str,
) -> None:
    """With the reason; the next good one arrives."""
    producer.chunk.map[:24] = b'goodgood\xff\xfe{"a":1}   ab'[:24].ljust(24)
    producer.write(producer.record())
    producer.write(producer.record(**wrong))
    producer.write(producer.record(timestamp=T + 1))
    with caplog.at_level(logging.WARNING, "dora"):
        assert T == receive(subscription).timestamp
        message = receive(subscription)
    assert (T + 1, list(b"goodgood")) == (message.timestamp, message.value().to_pylist())
    assert said in caplog.text


@pytest.mark.parametrize("form", [1, FIRST_SCHEMA, FIRST_SCHEMA + 1024, 1 << 31])
def test_arrow_data_that_is_none_says_so_where_it_is_used(
    subscription: ShmSubscription, producer: Producer, form: int
) -> None:
    """The program gets a ValueError, not a crash."""
    producer.chunk.map[:64] = os.urandom(64)
    producer.write(producer.record(form=form, length=64))
    message = receive(subscription)
    with pytest.raises(ValueError, match=r"schema|Arrow"):
        message.value()


def test_half_a_record_is_thrown_away(
    subscription: ShmSubscription, producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    """It can only come from a stranger."""
    producer.write(b"half")
    assert subscription.receive() is None
    assert "a record of 4 bytes" in caplog.text


def test_an_arena_that_could_shrink_is_not_mapped(
    layer: ShmLayer, producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    """Else its owner could end us by SIGBUS. The reader tries again until it gets a good one."""
    subscription = layer.subscribe(ROUTE, 100, "drop_oldest")
    bad = os.memfd_create("bad")
    os.ftruncate(bad, PAGE)
    producer.accept(bad)
    wait_until(lambda: "could shrink" in caplog.text, "a warning")
    assert producer.peer is not None
    producer.peer.close()
    producer.accept()
    producer.write(producer.record())
    assert T == receive(subscription).timestamp


GOOD = Subscribe(ROUTE, 1, 10, "drop_oldest", "")


def _fds(*, table: bool = True, pipe: bool = True, event: bool = True) -> list[int]:
    reader, writer = os.pipe()
    plain = os.memfd_create("plain")
    return [
        writer if pipe else os.dup(plain),
        reader,
        create_table() if table else os.dup(plain),
        os.eventfd(0) if event else os.dup(plain),
        plain,
    ][:4]


@pytest.mark.parametrize(
    ("word", "fds", "said"),
    [
        (Subscribe(ROUTE, 0, 10, "drop_oldest", ""), {}, "epoch 0"),
        (Subscribe(ROUTE, 1, 10, "whatever", ""), {}, "queue policy 'whatever'"),
        (GOOD, {"table": False}, "could shrink"),
        (GOOD, {"pipe": False}, "no pipe"),
        (GOOD, {"event": False}, "no eventfd"),
        (Welcome(0, "p"), None, "file descriptors"),
        (b"", None, ""),
        (b"{}", None, "no word of ours"),
        (b"\xff", None, "no word of ours"),
        (b"[" * 4000, None, "no word of ours"),
        (b'{"version": 2, "word": "leave"}', None, "version 2"),
        (b'{"version": 1, "word": "subscribe"}', None, "no word of ours"),
        (b'{"version": 1, "word": "leave", "why": 3}', None, "why is 3"),
        (b"x" * 10_000, None, "too long"),
    ],
    ids=str,
)
def test_readers_that_make_no_sense_are_sent_away(
    layer: ShmLayer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    word: Subscribe | Welcome | Leave | bytes,
    fds: dict[str, bool] | None,
    said: str,
) -> None:
    """The connection ends, with the reason in the producer's log; other readers are served."""
    publisher = layer.publish(ROUTE)
    good = layer.subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, good)
    with dial(path_of(str(tmp_path), "node")) as stranger:
        if isinstance(word, bytes):
            stranger.send(word)
        else:
            given = _fds(**fds) if fds is not None else []
            send_word(stranger, word, given)
            for fd in given:
                os.close(fd)
        if word:
            wait_until(lambda: said in caplog.text, "a warning")
            stranger.settimeout(20)
            assert b"" == stranger.recv(1)
    publisher.send(b"", {"n": 1}, T)
    assert [1] == numbers(good, 1)


def test_a_reader_may_subscribe_only_once(layer: ShmLayer, tmp_path: Path) -> None:
    """What it sends beyond that is closed, and changes nothing."""
    publisher = layer.publish(ROUTE)
    good = layer.subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, good)
    with dial(path_of(str(tmp_path), "node")) as stranger:
        for _ in range(3):
            fds = _fds()
            send_word(stranger, GOOD, fds)
            for fd in fds:
                os.close(fd)
    settle(publisher, good)
    assert "1 subscribers" in repr(wait_until(lambda: _alone(publisher), "the stranger is gone"))


def _alone(publisher: object) -> object:
    return publisher if "1 subscribers" in repr(publisher) else None
