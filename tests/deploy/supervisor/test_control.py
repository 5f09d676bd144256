"""The supervisor's socket under friendly, slow, silent and hostile clients."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path

from deploy.supervisor.control import Lines
from deploy.unit import RestartPolicy
from tests.deploy.supervisor.machine import Machine, until

RESTLESS = RestartPolicy(when="always")

PRINTER = """
import os, time
print("first", flush=True)
number = 0
while True:
    time.sleep(0.02)
    print("line", number, flush=True)
    number += 1
"""


NONSENSE = [
    (b"\xff\xfe", "bad_request"),
    (b"", "bad_request"),
    (b"[]", "bad_request"),
    (b"7", "bad_request"),
    (b"{}", "bad_request"),
    (b'{"op": 3}', "bad_request"),
    (b'{"op": "explode"}', "unknown_op"),
    (b"[" * 100_000, "bad_request"),
    (b'{"op": "status", "deployment": "../../etc"}', "bad_request"),
    (b'{"op": "status", "deployment": 5}', "bad_request"),
    (b'{"op": "lock", "deployment": "a"}', "bad_request"),
    (b'{"op": "secret", "deployment": "a", "name": "../x", "value": ""}', "bad_request"),
    (b'{"op": "secret", "deployment": "a", "name": "x", "value": "%"}', "bad_request"),
    (b'{"op": "generation", "deployment": "a", "number": -1}', "bad_request"),
    (b'{"op": "logs", "deployment": "nobody"}', "unknown"),
    (b'{"op": "logs", "deployment": "a", "tail": "x"}', "bad_request"),
    (b'{"op": "logs", "deployment": "a", "units": [1]}', "bad_request"),
    (b'{"op": "upgrade", "agent": "../../bin"}', "upgrade_failed"),
    (b'{"op": "activate", "deployment": "a", "creator": "x", "profile": 1}', "bad_request"),
]

MALFORMED: list[dict[str, object]] = [
    {"argv": []},
    {"argv": "sh"},
    {"argv": ["a\0b"]},
    {"name": "../x"},
    {"name": 5},
    {"cwd": None},
    {"env": {"A": 1}},
    {"env": [1]},
    {"cores": ["0"]},
    {"cores": [-1]},
    {"pin": "mine", "cores": [0]},
    {"pin": "exclusive", "cores": []},
    {"realtime": 5},
    {"realtime": {"policy": "fifo"}},
    {"realtime": {"policy": "fifo", "priority": 100}},
    {"realtime": {"policy": "other", "priority": 1}},
    {"nice": 20},
    {"nice": "5"},
    {"restart": {"when": "sometimes"}},
    {"restart": {"delay": "1"}},
    {"restart": {"delay": -1}},
    {"restart": 7},
    {"stop": {"nothing": 1}},
    {"readiness": "maybe"},
    {"start_timeout": float("nan")},
    {"order": "first"},
    {"links": 5},
    {"unknown": 1},
    {"watchdog": -1},
    {"watchdog": "2"},
    {"sockets": "door"},
    {"sockets": ["door"]},
    {"sockets": [{"name": "a"}]},
    {"sockets": [{"name": "a:b", "path": "a"}]},
    {"sockets": [{"name": "", "path": "a"}]},
    {"sockets": [{"name": "a", "path": ""}]},
    {"sockets": [{"name": "a", "path": "../a"}]},
    {"sockets": [{"name": "a", "path": "a/"}]},
    {"sockets": [{"name": "a", "path": 7}]},
    {"sockets": [{"name": "a", "path": "a", "kind": "dgram"}]},
    {"sockets": [{"name": "a", "path": "a", "more": 1}]},
    {"sockets": [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}]},
]


def test_nonsense_is_refused_and_the_connection_goes_on(machine: Machine) -> None:
    """Each bad request gets one clear reply; the next good one is answered."""
    machine.start()
    with machine.client() as client:
        for line, code in NONSENSE:
            client.socket.sendall(line + b"\n")
            reply = client.line()
            assert (False, code) == (reply["ok"], reply["code"]), line[:100]
            assert reply["error"]
            assert client.ok("hello")["root"] == str(machine.layout.root)


def test_a_malformed_unit_is_refused_whole(machine: Machine) -> None:
    """Nothing of the profile is activated, whatever is wrong with one unit of it."""
    machine.start()
    for change in MALFORMED:
        profile = machine.profile(machine.sleeper("good"), machine.sleeper("a")).to_json()
        profile["units"][1].update(change)
        assert "bad_request" == machine.activate(profile=profile)["code"], change
        assert {} == machine.states()
    assert {} == machine.ask("deployments")["deployments"]


def test_a_line_of_100_megabytes_is_refused_without_being_kept(machine: Machine) -> None:
    """It is dropped as it comes; memory does not grow with it."""
    pid = machine.start()
    with machine.client() as client:
        client.ok("hello")
        block = b"x" * (1024 * 1024)
        for _ in range(100):
            client.socket.sendall(block)
        client.socket.sendall(b"\n")
        assert "too_long" == client.line()["code"]
        client.ok("hello")
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0])
    assert peak < 80 * 1024, f"{peak} kB"


def test_lines_are_cut_wherever_the_blocks_end() -> None:
    """Pure: parts, several lines in a block, and one that is too long."""
    lines = Lines(longest=5)
    assert [b"ab", b""] == lines.feed(b"ab\n\ncd")
    assert [b"cde"] == lines.feed(b"e\n1234")
    assert [] == lines.feed(b"56")
    assert [None, b"ok"] == lines.feed(b"7\nok\n")


def test_a_profile_of_another_deployment_or_a_reserved_name_is_refused(machine: Machine) -> None:
    """`run` holds the supervisor's own files beside the deployments' folders."""
    machine.start()
    other = machine.profile(machine.sleeper("a"), deployment="other").to_json()
    assert "bad_request" == machine.activate(profile=other)["code"]
    reply = machine.activate(machine.sleeper("a"), deployment="units.json")
    assert "bad_request" == reply["code"]


def test_sockets_and_folders_are_private(machine: Machine) -> None:
    """Nobody else reads secrets, speaks to the supervisor or to a unit."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    machine.wait("a", "running")
    modes = {}
    for path in machine.layout.root.rglob("*"):
        if machine.layout.agents not in path.parents:
            try:
                modes[str(path)] = path.lstat().st_mode
            except FileNotFoundError:
                continue  # it was renamed to what is looked at as well
    assert str(machine.layout.socket) in modes
    public = {path: mode for path, mode in modes.items() if mode & 0o077}
    assert {} == {path: oct(mode) for path, mode in public.items() if not stat.S_ISLNK(mode)}


def test_secrets_are_written_privately_and_not_told(machine: Machine) -> None:
    """Names are listed, values are not; only certificates can be read back."""
    machine.start()
    assert {"ok": True} == machine.secret("key.pem", b"-----BEGIN PRIVATE KEY-----\nhush\n")
    machine.secret("cert.pem", b"-----BEGIN CERTIFICATE-----\npublic\n")
    machine.secret("token", b"hush")
    assert ["cert.pem", "key.pem", "token"] == machine.ask("secrets", deployment="flow")["names"]
    texts = [
        machine.ask("read_public", deployment="flow", name=name)["text"]
        for name in ("cert.pem", "key.pem", "token", "nothing.pem")
    ]
    assert ["-----BEGIN CERTIFICATE-----\npublic\n", None, None, None] == texts
    path = machine.layout.secrets("flow") / "token"
    assert (b"hush", 0o600) == (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    assert "hush" not in machine.supervisor_log()
    # Of two who deploy at once, the one who came too late overwrites no keys.
    late = machine.ask("secret", deployment="flow", name="token", value="")
    assert "not_locked" == late["code"]


def test_watch_tells_all_states_then_changes_then_that_it_is_alive(machine: Machine) -> None:
    """The last word on a stopped unit is that it has gone."""
    machine.start()
    machine.activate(machine.sleeper("a"), machine.sleeper("b"))
    machine.wait("b", "running")
    with machine.client() as client:
        client.send(op="watch", deployment="flow")
        assert ["a", "b"] == [unit["name"] for unit in client.line()["units"]]
        pid = machine.states()["a"]["pid"]
        os.kill(pid, 9)
        seen: list[str] = []
        for row in client.lines():
            assert set(row) in ({"units"}, {"heartbeat"})
            seen += [f"{u['name']} {u['state']}" for u in row.get("units", ())]
            if "a running" in seen:
                break
        machine.stop()
        assert any("a gone" in str(row) or "gone" in json.dumps(row) for row in client.lines())
        assert (
            abs(next(r for r in client.lines() if "heartbeat" in r)["heartbeat"] - time.time()) < 60
        )


def test_a_watcher_that_reads_nothing_harms_nobody(machine: Machine) -> None:
    """Others are served; what it misses is not kept."""
    pid = machine.start()
    crash = machine.unit("a", "raise SystemExit(1)", restart=RESTLESS)
    machine.activate(crash, machine.sleeper("b"))
    before = _memory(pid)
    silent = [machine.client() for _ in range(20)]
    for client in silent:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.send(op="watch")
    until(lambda: machine.states()["a"]["restarts"] > 8, "some restarts")
    assert machine.ask("hello")["ok"]
    assert _memory(pid) - before < 20 * 1024
    for client in silent:
        client.close()


def _memory(pid: int) -> int:
    """kB"""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def test_logs_are_tailed_and_followed_without_gap_or_repetition(machine: Machine) -> None:
    """The tail ends where the following begins."""
    machine.start()
    machine.activate(machine.unit("a", PRINTER))
    until(lambda: "line 5" in machine.log("a"))
    with machine.client() as client:
        client.send(op="logs", deployment="flow", tail=3, follow=True)
        assert {"ok": True} == client.line()
        rows = (row for row in client.lines() if row != {"live": True})
        numbers = [int(next(rows)["line"].split()[1]) for _ in range(20)]
    assert list(range(numbers[0], numbers[0] + 20)) == numbers


def test_logs_without_following_end(machine: Machine) -> None:
    """All units' last lines, then the end of the connection."""
    machine.start()
    machine.activate(machine.unit("a", "print('one'); print('two')"), machine.unit("b", "print(3)"))
    machine.wait("a", "ended")
    machine.wait("b", "ended")
    with machine.client() as client:
        client.send(op="logs", deployment="flow", tail=1)
        rows = list(client.lines())
    told = [(row["unit"], row["line"], row["level"]) for row in rows[1:-1]]
    assert [("a", "two", "stdout"), ("b", "3", "stdout")] == told
    assert all(abs(time.time() - row["time"]) < 60 for row in rows[1:-1])
    assert ({"ok": True}, {"end": True}) == (rows[0], rows[-1])
    with machine.client() as client:
        client.send(op="logs", deployment="flow", since=time.time() + 100)
        assert [{"ok": True}, {"end": True}] == list(client.lines())
    for wrong in ({"level": "loud"}, {"since": "now"}, {"ago": -1}):
        assert "bad_request" == machine.ask("logs", deployment="flow", **wrong)["code"]
    reply = machine.ask("logs", deployment="flow", units=["nobody"])
    assert "there are: ['a', 'b']" in reply["error"]


def test_a_followed_log_survives_rotation_and_restart(machine: Machine) -> None:
    """The file may be renamed under the reader; the next process writes a new one."""
    machine.start()
    machine.activate(machine.unit("a", PRINTER, restart=RESTLESS))
    until(lambda: "line" in machine.log("a"))
    log = machine.layout.log("flow", "a")
    with machine.client() as client:
        client.send(op="logs", deployment="flow", tail=0, follow=True)
        client.line()
        log.rename(log.with_name("a.log.1"))
        pid = machine.states()["a"]["pid"]
        os.kill(pid, 9)
        assert "first" in (row.get("line") for row in client.lines())
