"""The door of a machine: who says nothing is shown out, by its clock."""

from __future__ import annotations

import resource
import select
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.direct import door
from dora.communication.direct.calling import socket_of, want
from dora.communication.direct.door import Door
from dora.errors import DoraError
from tests.dora.harness import wait_until


class Hall:
    """A door with a clock of ours, and a node behind it."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.door = Door("127.0.0.1:0", str(folder / "router.sock"), lambda: self.now)
        self.node = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.node.bind(socket_of(str(folder / "router.sock"), "node"))
        self.node.setblocking(False)
        self.callers: list[socket.socket] = []

    def call(self, said: bytes) -> socket.socket:
        caller = socket.create_connection(("127.0.0.1", self.door.port))
        caller.sendall(said)
        caller.setblocking(False)
        self.callers.append(caller)
        return caller

    def is_out(self, caller: socket.socket) -> bool:
        self.door.serve()
        try:
            return caller.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def shown_in(self) -> socket.socket | None:
        self.door.serve()
        try:
            _, [fd], _, _ = socket.recv_fds(self.node, 1, 1)
        except BlockingIOError:
            return None
        return socket.socket(fileno=fd)

    def close(self) -> None:
        self.door.close()
        self.node.close()
        for caller in self.callers:
            caller.close()


@pytest.fixture
def hall() -> Iterator[Hall]:
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:  # short, for the sockets
        hall = Hall(Path(folder))
        yield hall
        hall.close()


def test_the_node_gets_the_connection_and_all_but_the_name(hall: Hall) -> None:
    """In pieces or at once."""
    caller = hall.call(want("node")[:4])
    assert hall.shown_in() is None
    caller.sendall(want("node")[4:] + b"more")
    inside = wait_until(hall.shown_in, "the connection")
    with inside:
        inside.settimeout(30)
        assert b"more" == inside.recv(10)
        inside.sendall(b"answer")
        caller.settimeout(30)
        assert b"answer" == caller.recv(10)


def test_nobody_is_let_in_to_a_node_that_is_not_there(hall: Hall) -> None:
    """The reader calls again."""
    caller = hall.call(want("nobody"))
    wait_until(lambda: hall.is_out(caller), "the end of the call")


def test_who_does_not_say_what_it_wants_is_shown_out_after_a_while(hall: Hall) -> None:
    """And not before."""
    caller = hall.call(b"DORA1")
    for _ in range(10):
        assert not hall.is_out(caller)
    hall.now = door.PATIENCE + 1
    wait_until(lambda: hall.is_out(caller), "the end of the call")


def test_who_has_said_half_of_it_keeps_the_router_from_nothing(hall: Hall) -> None:
    """It is looked at again when more comes, or when its time is over."""
    caller = hall.call(want("node")[:3])
    wait_until(lambda: hall.shown_in() or "1 in it" in repr(hall.door), "the call")
    news = select.poll()
    news.register(hall.door.fileno(), select.POLLIN)
    hall.door.serve()
    assert [] == news.poll(0)
    caller.sendall(want("node")[3:])
    wait_until(hall.shown_in, "the connection").close()


def test_a_crowd_is_taken_in_turns(hall: Hall) -> None:
    """The router has other things to do."""
    for _ in range(door.AT_ONCE + 1):
        hall.call(b"")
    hall.door.serve()
    assert f"<Door, {door.AT_ONCE} in it>" == repr(hall.door)
    hall.door.serve()
    assert f"<Door, {door.AT_ONCE + 1} in it>" == repr(hall.door)


def test_of_too_many_the_first_make_room(hall: Hall) -> None:
    """So that silence keeps nobody out."""
    silent = [hall.call(b"") for _ in range(door.MOST)]
    hall.door.serve()
    hall.call(want("node"))
    wait_until(hall.shown_in, "the connection").close()
    wait_until(lambda: hall.is_out(silent[0]), "the first one's end")


def test_a_process_with_too_many_files_listens_again_when_it_has_fewer(
    hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and does not go round in circles meanwhile."""
    hall.call(want("node"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryFile() as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), limits[1]))
        try:
            wait_until(lambda: hall.shown_in() or caplog.records, "the news")
            assert hall.shown_in() is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert ["readers of other machines are not let in for now: [Errno 24] Too many open files"] == [
        it.getMessage() for it in caplog.records
    ]
    hall.now = door.PAUSE + 1
    wait_until(hall.shown_in, "the connection").close()


def test_a_port_that_is_taken_is_named(hall: Hall) -> None:
    """With DoraError."""
    with pytest.raises(DoraError, match=rf"TCP 127.0.0.1:{hall.door.port}: Address already in use"):
        Door(f"127.0.0.1:{hall.door.port}", "router.sock")
