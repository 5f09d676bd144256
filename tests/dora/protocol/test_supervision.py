"""The node's side of being supervised: sockets that it inherits, what it says and says again."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.unit import Socket, Unit
from dora.protocol import supervision
from dora.protocol.supervision import ControlPipe
from tests.deploy.supervisor.machine import Machine, until

ROOT = Path(__file__).resolve().parents[3]
LISTEN = """
import json, os
from dora.protocol.supervision import inherited_sockets
found = inherited_sockets()
left = [name for name in os.environ if name.startswith("LISTEN_")]
inheritable = [name for name, fd in found.items() if os.get_inheritable(fd)]
print(json.dumps([found, inheritable, left, inherited_sockets()]))
"""


def listen(count: str, names: str, pid: str = "$$") -> list[Any]:
    """What a process finds that was given descriptors 3 and 4."""
    script = f'exec 3</dev/null 4</dev/null; LISTEN_PID={pid}; export LISTEN_PID; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", sys.executable, "-c", LISTEN],
        env={**os.environ, "LISTEN_FDS": count, "LISTEN_FDNAMES": names, "PYTHONPATH": str(ROOT)},
        close_fds=False,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_inherited_sockets_are_found_by_name_once() -> None:
    """They are not inherited any further, and neither are the variables."""
    assert [{"one": 3, "two": 4}, [], [], {}] == listen("2", "one:two")


def test_descriptors_without_a_name_are_unknown() -> None:
    """As sd_listen_fds_with_names calls them."""
    assert {"one": 3, "unknown": 4} == listen("2", "one")[0]
    assert {"unknown": 3} == listen("1", "")[0]


def test_what_is_meant_for_another_process_is_not_taken() -> None:
    """A child that inherits the variables of its parent has no sockets; nonsense is none either."""
    assert [{}, [], [], {}] == listen("2", "one:two", pid="1")
    assert [{}, [], [], {}] == listen("many", "one:two")


@pytest.fixture
def notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A supervisor's ear, and a process that has said nothing so far."""
    monkeypatch.setattr(supervision, "_said", supervision._Said())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "n"))
        receiver.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        yield receiver


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[ControlPipe]:
    os.mkfifo(tmp_path / "control")
    control = ControlPipe(str(tmp_path / "control"))
    yield control
    control.close()


def tell(tmp_path: Path, text: str) -> None:
    with (tmp_path / "control").open("w") as control:
        control.write(text)


def heard(receiver: socket.socket) -> list[tuple[str, Sequence[int]]]:
    """The messages so far, each with the descriptors in it."""
    messages = []
    while True:
        try:
            message, ancillary, _, _ = receiver.recvmsg(4096, socket.CMSG_SPACE(64))
        except BlockingIOError:
            return messages
        rights = array.array("i", b"".join(data for _, _, data in ancillary))
        messages.append((message.decode(), list(rights)))


def test_status_is_answered_by_who_is_ready(
    tmp_path: Path, notify: socket.socket, pipe: ControlPipe
) -> None:
    """Not before; and it is not among the lines."""
    tell(tmp_path, "status\n")
    assert ([], []) == (pipe.read_lines(), heard(notify))
    supervision.notify_ready()
    assert [("READY=1", [])] == heard(notify)
    tell(tmp_path, "sta")
    tell(tmp_path, "tus\nother\nstatus\n")
    assert (["other"], [("READY=1", [])]) == (pipe.read_lines(), heard(notify))


def test_a_stop_that_was_looked_for_is_still_to_be_read(
    tmp_path: Path, notify: socket.socket, pipe: ControlPipe
) -> None:
    """A status does not count as one."""
    tell(tmp_path, "status\n")
    assert not pipe.asked_to_stop()
    tell(tmp_path, "stop\n")
    assert [True, True] == [pipe.asked_to_stop(), pipe.asked_to_stop()]
    assert [["stop"], []] == [pipe.read_lines(), pipe.read_lines()]


def test_status_brings_copies_of_the_sockets_that_are_still_there(
    tmp_path: Path, notify: socket.socket, pipe: ControlPipe
) -> None:
    """One that was closed is left out, though its number is in use again."""
    kept, closed = (socket.socket(socket.AF_UNIX) for _ in range(2))
    supervision._said.sockets = {
        name: (one.fileno(), os.fstat(one.fileno()).st_ino)
        for name, one in (("kept", kept), ("closed", closed))
    }
    number = closed.fileno()
    closed.close()
    os.dup2(kept.fileno(), number)
    os.dup2(notify.fileno(), number)
    supervision.notify_ready()
    tell(tmp_path, "status\n")
    pipe.read_lines()
    _, ready, gift = heard(notify)
    assert (("READY=1", []), "FDSTORE=1\nFDNAME=kept") == (ready, gift[0])
    assert [os.fstat(kept.fileno()).st_ino] == [os.fstat(fd).st_ino for fd in gift[1]]
    for fd in (*gift[1], number):
        os.close(fd)
    kept.close()


def test_signs_of_life_never_block_and_need_no_listener(
    notify: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """A supervisor that does not read, or that is away, does not hold a node up."""
    for _ in range(1000):
        supervision.notify_alive()
    assert {("WATCHDOG=1", ())} == {(text, tuple(fds)) for text, fds in heard(notify)}
    notify.close()
    supervision.notify_alive()
    assert [] == caplog.records


def test_the_watchdogs_time_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In microseconds, as sd_watchdog_enabled has it; nonsense is no watchdog."""
    found = []
    for text in ("1500000", "0", "", "-1", "soon"):
        monkeypatch.setenv("WATCHDOG_USEC", text)
        found.append(supervision.watchdog_interval())
    assert [1.5, None, None, None, None] == found


SERVER = """
import select, socket
from dora.protocol.supervision import ControlPipe, inherited_sockets, notify_ready
server = socket.socket(fileno=inherited_sockets()["door"])
pipe = ControlPipe.from_environment()
notify_ready()
while True:
    ready, _, _ = select.select([pipe, server], [], [])
    if pipe in ready and pipe.read_lines() == ["stop"]:
        break
    if server in ready:
        server.accept()[0].close()
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    try:
        yield machine
    finally:
        machine.close()


def test_the_nodes_side_and_the_supervisors_fit(machine: Machine) -> None:
    """A killed supervisor's successor gets the listener back, and the unit leaves when asked."""
    machine.start()
    unit = Unit(
        name="server",
        argv=(sys.executable, "-c", SERVER),
        cwd=str(machine.layout.state("flow", "server")),
        env={"PYTHONPATH": str(ROOT)},
        readiness="notify",
        sockets=(Socket("door", "door.sock"),),
    )
    machine.activate(unit)
    pid = machine.wait("server", "running")["pid"]
    machine.kill()
    machine.start()
    until(lambda: "gave back its socket door" in machine.supervisor_log(), "the gift")
    assert pid == machine.states()["server"]["pid"]
    assert ["server"] == machine.stop()["stopped"]
    assert "Traceback" not in machine.log("server")
