"""Where producers are found: sockets that nodes bind, and sockets that somebody holds for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.base import Kind
from dora.communication.shm.address import dial, listen, path_of
from dora.communication.shm.layer import ShmLayer
from dora.errors import DoraError
from tests.dora.communication.suite import ROUTE, T, numbers, readable, receive, settle
from tests.dora.harness import ROOT, wait_until


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[ShmLayer]:
    layer = ShmLayer(str(tmp_path))
    yield layer
    layer.close()


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """A socket's address has room for 108 bytes, a deployment's folder may need more."""
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    layer = ShmLayer(str(folder))
    try:
        publisher, subscription = layer.publish(ROUTE), layer.subscribe(ROUTE, 1, "drop_oldest")
        settle(publisher, subscription)
        assert ["node.shm", "node.shm.lock"] == sorted(os.listdir(folder))
    finally:
        layer.close()
    assert ["node.shm.lock"] == os.listdir(folder)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """Of a process that was killed; and nobody takes it for a producer."""
    path = path_of(str(tmp_path), "node")
    stale = listen(path, None)
    stale.close(remove=False)
    with pytest.raises(ConnectionRefusedError):
        dial(path)
    fresh = listen(path, None)
    dial(path).close()
    fresh.close()
    assert not path.exists()


def test_who_comes_later_has_the_name(tmp_path: Path) -> None:
    """The earlier one does not take it away when it ends."""
    path = path_of(str(tmp_path), "node")
    earlier, later = listen(path, None), listen(path, None)
    earlier.close()
    dial(path).close()
    later.close()
    assert not path.exists()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """In one error of ours."""
    (tmp_path / "file").touch()
    layer = ShmLayer(str(tmp_path / "file"))
    try:
        with pytest.raises(DoraError, match=r"file/node\.shm: cannot listen for readers"):
            layer.publish(ROUTE)
    finally:
        layer.close()


@pytest.mark.parametrize("route", ["", "flow", "flow/node", "flow//x", "/node/x", "flow/../x"])
def test_what_is_no_route_is_refused(layer: ShmLayer, route: str) -> None:
    """A node's name is a file's name here."""
    for use in (layer.publish, lambda r: layer.subscribe(r, 1, "drop_oldest")):
        with pytest.raises(ValueError, match="no route"):
            use(route)


PRODUCER = """
import os, sys, time
from dora.communication.shm.layer import ShmLayer
publisher = ShmLayer(sys.argv[1]).publish("flow/node/output")
while True:
    publisher.send(b"x", {"pid": os.getpid()}, 1)
    time.sleep(0.01)
"""


# The descriptor becomes number 3, and the process's own id is only known here.
INHERIT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Holder:
    """Holds a node's socket as a supervisor does, and starts the node with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        aside = folder / ".aside"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(aside))
        self.socket.listen(64)
        aside.rename(path_of(str(folder), "node"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        fd = str(self.socket.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-c", INHERIT, fd, "-c", PRODUCER, str(self.folder)],
            pass_fds=[self.socket.fileno()],
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "shm"},
            cwd=ROOT,
        )
        return self.process.pid

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self.socket.close()


def test_who_connects_before_the_node_runs_waits_in_its_inherited_socket(
    layer: ShmLayer, tmp_path: Path
) -> None:
    """And is served by each process that follows one that was killed."""
    holder = Holder(tmp_path)
    try:
        subscription = layer.subscribe(ROUTE, 1, "drop_oldest")
        for _ in range(3):
            assert not readable(subscription, 0.1)
            pid = holder.start()
            assert pid == receive(subscription).metadata["pid"]
            holder.kill()
            while (message := receive(subscription)).kind is not Kind.RESTARTED:
                assert pid == message.metadata["pid"]
        assert path_of(str(tmp_path), "node").exists()
    finally:
        holder.close()


def test_an_inherited_socket_of_another_kind_is_an_error(tmp_path: Path) -> None:
    """The node says so instead of listening nowhere."""
    holder = Holder(tmp_path)
    holder.socket.close()
    holder.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.start()
        assert holder.process is not None
        assert 1 == holder.process.wait(30)
    finally:
        holder.close()


@pytest.mark.parametrize("known", [True, False])
def test_a_reader_that_comes_late_is_told_of_the_end(tmp_path: Path, known: bool) -> None:
    """Once, if it is of the same generation; when the producer runs again there is data."""
    document = tmp_path / "document"
    document.touch()
    producer = ShmLayer(str(tmp_path), document=document)
    first, _ = producer.publish(ROUTE), producer.publish("flow/node/other")
    first.finish()
    producer.close()
    if not known:
        document.unlink()
        document.touch()
        os.utime(document, (1, 1))
    reader = ShmLayer(str(tmp_path), document=document)
    try:
        subscription = reader.subscribe(ROUTE, 10, "drop_oldest")
        other = reader.subscribe("flow/node/other", 10, "drop_oldest")
        if known:
            assert Kind.CLOSED is receive(subscription).kind
        assert not readable(subscription, 1.0)
        assert not readable(other)
        again = ShmLayer(str(tmp_path), document=document)
        publisher = again.publish(ROUTE)
        settle(publisher, subscription)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)
        again.close()
    finally:
        reader.close()


def test_who_subscribes_after_the_end_but_before_the_process_ends_is_told(layer: ShmLayer) -> None:
    """A publisher that has finished says so to whoever comes."""
    layer.publish(ROUTE).finish()
    assert Kind.CLOSED is receive(layer.subscribe(ROUTE, 10, "drop_oldest")).kind


def test_readers_are_known_by_name(tmp_path: Path) -> None:
    """So that a producer can wait for them."""
    producer = ShmLayer(str(tmp_path))
    reader = ShmLayer(str(tmp_path), node="plot")
    try:
        producer.publish(ROUTE)
        with producer.attendance() as attendance:
            assert frozenset() == attendance.present()
            subscription = reader.subscribe(ROUTE, 1, "drop_oldest")
            wait_until(lambda: attendance.present() == {"plot"}, "it is there")
            subscription.close()
            wait_until(lambda: attendance.present() == set(), "it has left")
    finally:
        producer.close()
        reader.close()
