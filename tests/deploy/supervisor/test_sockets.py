"""Socket activation with real units: clients find a listener, whoever of the two sides has died."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.supervisor.foreground import Event, Foreground
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.slot import Slot
from deploy.supervisor.sockets import Place, Sockets, decide
from deploy.unit import RestartPolicy, Socket, Unit
from tests.deploy.supervisor.machine import PATIENCE, READY, Machine, alive, until

ALWAYS = RestartPolicy(when="always")
DOOR = Socket("door", "door.sock")

# Tells each client its pid.
SERVER = """
import os, socket
server = socket.socket(fileno=3)
while True:
    peer, _ = server.accept()
    peer.sendall(b"%d" % os.getpid())
    peer.close()
"""

# The same, and hands a copy of its listener over when it is asked for its status.
GENEROUS = """
import array, os, select, socket
pipe = os.open(os.environ["DEPLOY_CONTROL"], os.O_RDWR)
server = socket.socket(fileno=3)
while True:
    ready = select.select([pipe, server], [], [])[0]
    if pipe in ready and os.read(pipe, 100) == b"status\\n":
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [3]))]
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.sendmsg([b"FDSTORE=1\\nFDNAME=door"], rights, 0, os.environ["NOTIFY_SOCKET"])
    if server in ready:
        peer, _ = server.accept()
        peer.sendall(b"%d" % os.getpid())
        peer.close()
"""


@contextmanager
def client(path: Path, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, kind) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        yield peer


def ask(path: Path) -> int:
    """The pid of whoever serves at the path."""
    with client(path) as peer:
        return int(peer.recv(100))


def freeze(pid: int) -> None:
    """Stops a process; before it is stopped it may still accept somebody."""
    os.kill(pid, signal.SIGSTOP)
    stat_ = Path(f"/proc/{pid}/stat")
    until(lambda: stat_.read_text().rpartition(")")[2].split()[0] == "T", "the stop")


def door(machine: Machine) -> Path:
    return machine.layout.unit_run("flow") / "door.sock"


def test_a_unit_inherits_its_sockets_and_nothing_else(machine: Machine) -> None:
    """From descriptor 3 on, named, for its own pid although taskset started it."""
    machine.start()
    script = """
import json, os, signal, socket
values = {name: os.environ[name] for name in os.environ if name.startswith("LISTEN_")}
values["mine"] = values.pop("LISTEN_PID") == str(os.getpid())
there = [number for number in range(1000) if os.path.exists("/proc/self/fd/%d" % number)]
values["descriptors"] = there
values["kinds"] = [socket.socket(fileno=n).type for n in (3, 4)]
ignored = int(open("/proc/self/status").read().split("SigIgn:")[1].split()[0], 16)
values["ignored"] = [number for number in range(1, 32) if ignored >> number - 1 & 1]
print(json.dumps(values))
"""
    sockets = (Socket("one", "one"), Socket("two", str(machine.folder / "two"), "seqpacket"))
    plain = machine.unit(
        "plain", script.split("values[")[0] + "print(values, os.listdir('/proc/self/fd'))"
    )
    machine.activate(machine.unit("a", script, sockets=sockets, cores=(0,)), plain)
    machine.wait("a", "ended")
    machine.wait("plain", "ended")
    assert {
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "one:two",
        "mine": True,
        "descriptors": [0, 1, 2, 3, 4],
        "kinds": [socket.SOCK_STREAM, socket.SOCK_SEQPACKET],
        # Python itself ignores SIGPIPE and SIGXFSZ, and the unit's Python did so again
        "ignored": [signal.SIGPIPE, signal.SIGXFSZ],
    } == json.loads(machine.log("a"))
    assert "{}" in machine.log("plain")
    for path in (machine.layout.unit_run("flow") / "one", machine.folder / "two"):
        assert stat.S_IFSOCK | 0o600 == path.stat().st_mode


def test_a_unit_with_sockets_keeps_every_name_of_its_environment(machine: Machine) -> None:
    """Also those that a shell would drop; the sockets are there all the same."""
    machine.start()
    script = """
import os, socket
mine = os.environ["LISTEN_PID"] == str(os.getpid())
print(mine, os.environ.get("a.name"), os.getcwd(), socket.socket(fileno=3).type)
"""
    for name, env in (("odd", {"a.name": "there"}), ("plain", {})):
        unit = machine.unit(name, script, sockets=(DOOR,), env=env)
        machine.activate(unit)
        machine.wait(name, "ended")
        told = f"True {env.get('a.name')} {unit.cwd} {int(socket.SOCK_STREAM)}\n"
        assert told == machine.log(name)


def test_signals_that_the_way_to_the_unit_ignored_are_as_they_were(machine: Machine) -> None:
    """SIGPIPE ends a program that writes to nobody, as in every other process."""
    machine.start()
    unit = machine.unit("a", "")
    argv = ("grep", "SigIgn", "/proc/self/status")
    machine.activate(Unit(name="a", argv=argv, cwd=unit.cwd, sockets=(DOOR,)))
    machine.wait("a", "ended")
    # glibc's posix_spawn also leaves those ignored that it keeps for itself, 32 and 33.
    assert 0 == int(machine.log("a").split()[1], 16) & (1 << 31) - 1


def test_clients_may_come_before_the_unit(machine: Machine) -> None:
    """The socket is there before any unit of the deployment starts."""
    machine.start()
    gate = machine.folder / "gate"
    first = (
        READY + f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nready()\n"
    )
    machine.activate(
        machine.unit("first", first + "time.sleep(1000)", readiness="notify"),
        machine.unit("server", SERVER, sockets=(DOOR,), order=1),
    )
    with client(door(machine)) as peer:
        assert "waiting" == machine.states()["server"]["state"]
        gate.touch()
        assert int(peer.recv(100)) == machine.wait("server", "running")["pid"]


def test_clients_wait_while_the_unit_is_away(machine: Machine) -> None:
    """Between a crash and its restart nobody is refused."""
    machine.start()
    policy = RestartPolicy(when="always", delay=3)
    machine.activate(machine.unit("server", SERVER, sockets=(DOOR,), restart=policy))
    pid = ask(door(machine))
    os.kill(pid, signal.SIGKILL)
    machine.wait("server", "backoff")
    assert ask(door(machine)) == machine.wait("server", "running")["pid"] != pid


def test_a_killed_supervisor_is_not_noticed_by_clients(machine: Machine) -> None:
    """The unit serves on at the same path; when it ends it gets a new listener."""
    machine.start()
    machine.activate(machine.unit("server", SERVER, sockets=(DOOR,), restart=ALWAYS))
    pid = ask(door(machine))
    machine.kill()
    assert pid == ask(door(machine))
    machine.start()
    assert pid == machine.wait("server", "running")["pid"] == ask(door(machine))
    os.kill(pid, signal.SIGKILL)
    until(lambda: machine.states()["server"]["pid"] not in (None, pid), "the restart")
    assert pid != ask(door(machine)) == machine.wait("server", "running")["pid"]
    assert ["door.sock", "server.control"] == sorted(os.listdir(machine.layout.unit_run("flow")))


def test_a_listener_that_a_unit_gave_back_outlives_it(machine: Machine) -> None:
    """Who waits in its queue is served by the next process, though both sides were killed."""
    machine.start()
    machine.activate(machine.unit("server", GENEROUS, sockets=(DOOR,), restart=ALWAYS))
    pid = ask(door(machine))
    machine.kill()
    machine.start()
    until(lambda: "gave back its socket door" in machine.supervisor_log(), "the gift")
    freeze(pid)
    with client(door(machine)) as peer:
        os.kill(pid, signal.SIGKILL)
        assert int(peer.recv(100)) == machine.wait("server", "running")["pid"] != pid


def test_what_a_unit_gives_that_is_no_listener_of_its_is_not_kept(machine: Machine) -> None:
    """A file, a socket that does not listen, an unknown name: the supervisor closes it."""
    supervisor = machine.start()
    script = """
import array, os, socket, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text, *descriptors):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    notify.sendmsg([text], rights, 0, os.environ["NOTIFY_SOCKET"])
for _ in range(20):
    say(b"FDSTORE=1\\nFDNAME=door", os.open("/dev/null", os.O_RDONLY), notify.fileno(), 3)
    say(b"FDSTORE=1\\nFDNAME=\\xff", 3)
    say(b"FDSTORE=1", *range(4))
    say(b"WATCHDOG=1\\n", 0, 3)
say(b"READY=1", 3)
time.sleep(1000)
"""
    before = len(os.listdir(f"/proc/{supervisor}/fd"))
    machine.activate(machine.unit("a", script, sockets=(DOOR,), readiness="notify"))
    machine.wait("a", "running")
    assert len(os.listdir(f"/proc/{supervisor}/fd")) < before + 10
    assert "Traceback" not in machine.supervisor_log()
    machine.kill()
    machine.start()
    machine.wait("a", "running")


def test_listeners_are_handed_over_in_an_upgrade(machine: Machine) -> None:
    """Who waits in the queue of a unit that hangs is served when it was killed after it."""
    machine.start()
    machine.activate(machine.unit("server", SERVER, sockets=(DOOR,), restart=ALWAYS))
    pid = ask(door(machine))
    freeze(pid)
    with client(door(machine)) as peer:
        other = "e" * 64
        os.symlink(machine.ask("hello")["agent"], machine.layout.agent(other))
        machine.upgrade(other)
        machine.start()
        os.kill(pid, signal.SIGKILL)
        assert int(peer.recv(100)) == machine.wait("server", "running")["pid"] != pid


def test_sockets_go_with_what_names_them(machine: Machine) -> None:
    """A unit with other sockets is another unit; the end of the deployment leaves no file."""
    machine.start()
    machine.activate(machine.sleeper("a", sockets=(DOOR,)))
    pid = machine.wait("a", "running")["pid"]
    window = Socket("window", str(machine.folder / "new" / "window"), "seqpacket")
    assert ["a"] == machine.activate(machine.sleeper("a", sockets=(window,)))["restarted"]
    until(lambda: not alive(pid) and not door(machine).exists(), "the end of the old socket")
    with client(Path(window.path), socket.SOCK_SEQPACKET):
        pass
    machine.stop()
    assert not Path(window.path).exists()


def test_a_socket_may_change_its_kind(machine: Machine) -> None:
    """The path leads to the new one when the old process has gone."""
    machine.start()
    machine.activate(machine.sleeper("a", sockets=(DOOR,)))
    pid = machine.wait("a", "running")["pid"]
    machine.activate(machine.sleeper("a", sockets=(Socket("door", DOOR.path, "seqpacket"),)))
    until(lambda: machine.states()["a"]["pid"] not in (None, pid), "the restart")
    with client(door(machine), socket.SOCK_SEQPACKET):
        pass


def test_a_path_that_is_taken_is_the_units_failure(machine: Machine) -> None:
    """What is there stays as it is; two of one profile are refused before anything happens."""
    machine.start()
    file = machine.folder / "file"
    file.write_text("precious")
    taken = {
        "file": str(file),
        "supervisor": str(machine.layout.socket),
        "control": "file.control",
        "folder": ".",
    }
    machine.activate(
        *(machine.unit(name, "", sockets=(Socket("s", path),)) for name, path in taken.items())
    )
    for name in taken:
        assert taken[name].lstrip("./") in str(machine.wait(name, "failed")["error"])
    assert "precious" == file.read_text()
    reply = machine.activate(
        machine.sleeper("a", sockets=(DOOR,)),
        machine.sleeper("b", sockets=(Socket("other", "./door.sock"),)),
    )
    assert ("bad_request", True) == (reply["code"], "door.sock" in reply["error"])
    shared = Socket("s", str(machine.folder / "shared"))
    machine.activate(machine.sleeper("a", sockets=(shared,)))
    machine.wait("a", "running")
    machine.activate(machine.unit("a", "", sockets=(shared,)), deployment="two")
    assert "'flow'" in machine.wait("a", "failed", deployment="two")["error"]


def test_a_file_that_somebody_removed_is_there_again_after_a_restart(machine: Machine) -> None:
    """A listener to which no path leads is of no use."""
    machine.start()
    machine.activate(machine.unit("server", SERVER, sockets=(DOOR,)))
    ask(door(machine))
    door(machine).unlink()
    pid = machine.states()["server"]["pid"]
    machine.ask("restart", deployment="flow", unit="server")
    until(lambda: machine.states()["server"]["pid"] not in (None, pid), "the restart")
    assert ask(door(machine)) == machine.states()["server"]["pid"]


async def test_units_in_the_foreground_have_sockets(machine: Machine) -> None:
    """The same behind setpriv, which ties their lives to ours; nothing is left behind."""
    events: list[Event] = []
    script = "import os; print(os.environ['LISTEN_PID'] == str(os.getpid()), os.fstat(3).st_mode)"
    async with Foreground(str(machine.layout.root), events.append) as units:
        units.activate(machine.profile(machine.unit("a", script, sockets=(DOOR,), cores=(0,))))
        assert door(machine).is_socket()
        await units.finished()
    assert machine.log("a").startswith("True 49")
    assert not machine.layout.unit_run("flow").exists()


def test_a_long_path_can_be_bound(tmp_path: Path) -> None:
    """sun_path's 108 bytes do not limit where a socket is."""
    folder = tmp_path / ("n" * 200)
    sockets = Sockets(Layout(str(tmp_path)))
    entry = Socket("s", str(folder / "socket"))
    place = sockets.locate("flow", entry)
    sockets.hold(place, entry)
    descriptor = os.open(folder, os.O_PATH)
    with client(Path(f"/proc/self/fd/{descriptor}/socket")):
        assert {place: "stream"} == sockets.held
    os.close(descriptor)
    sockets.release(place)
    assert [] == os.listdir(folder)


@pytest.mark.parametrize(
    ("wanted", "actual", "held", "bind", "release"),
    [
        ("stream", None, None, True, False),
        ("stream", None, "stream", False, False),
        ("stream", None, "seqpacket", True, False),
        ("stream", "stream", None, False, False),  # the unit has what we lost
        ("stream", "seqpacket", "seqpacket", False, False),  # until it has gone
        (None, "stream", "stream", False, False),
        (None, None, "stream", False, True),
    ],
)
def test_what_to_bind_and_what_to_let_go(
    wanted: str | None, actual: str | None, held: str | None, bind: bool, release: bool
) -> None:
    """Pure: what is wanted, what a living process inherited, and what we hold."""

    def unit(kind: str | None) -> Unit | None:
        sockets = () if kind is None else (Socket("s", "/s", kind),)
        return Unit(name="a", argv=("run",), cwd="/", sockets=sockets)

    slot = Slot(Key("flow", "a"), since=0.0, wanted=unit(wanted), actual=unit(actual))
    slot.pid = None if actual is None else 7
    place = Place("flow", "/s")
    work = decide(
        [slot],
        {} if held is None else {place: held},
        lambda deployment, entry: Place(deployment, entry.path),
    )
    assert (bind, release) == (place in work.bind, place in work.release)
