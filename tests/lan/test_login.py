"""Logging in to real sshd: host keys, users' keys, ssh_config, jump hosts, and every failure."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.connection.ssh import SshConnector
from deploy.errors import ConnectionFailed
from deploy.inventory import Machine
from tests.lan.bench import Lan, wait_until
from tests.lan.disk import Key
from tests.lan.test_connection import connector, robot


async def failure(connecting: SshConnector, machine: Machine) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        await connecting.connect(machine)
    assert caught.value.machine == machine.id
    assert caught.value.hint
    return caught.value


async def works(connecting: SshConnector, machine: Machine) -> str:
    """The name of the host that the connection leads to."""
    connection = await connecting.connect(machine)
    done = await connection.run(["hostname"])
    await connection.close()
    return done.stdout.decode().strip()


def output(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@contextmanager
def running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has to end inside the block."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        yield process


# Host keys


async def test_an_unknown_host_key_is_refused(lan: Lan, tmp_path: Path) -> None:
    """The error has the fingerprint to compare, and three ways to go on."""
    for files in ([], [tmp_path / "missing"]):
        error = await failure(connector(lan, known_hosts=files), robot(lan))
        assert "host_key_unknown" == error.cause
        assert lan.fingerprint(1) in str(error)
        for part in ("--accept-new", f"host_key: {lan.fingerprint(1)}", "ssh-keyscan"):
            assert part in str(error.hint)
    assert not (tmp_path / "missing").exists()


async def test_a_new_host_key_is_accepted_and_recorded_once(lan: Lan, tmp_path: Path) -> None:
    """With accept_new the key is written where ssh finds it, once, however many connect."""
    known = tmp_path / "ssh" / "known_hosts"
    accepting = connector(lan, known_hosts=[known], accept_new=True)
    names = await asyncio.gather(*(works(accepting, robot(lan)) for _ in range(6)))
    assert ["robot1"] * 6 == names
    assert lan.known_hosts_line(1) == known.read_text()
    assert "robot1" == await works(connector(lan, known_hosts=[known]), robot(lan))
    argv = ["ssh", "-F", "none", "-i", str(lan.identity), "-o", f"UserKnownHostsFile={known}"]
    argv += ["-o", "BatchMode=yes", f"robot@{lan.address(1)}", "hostname"]
    assert "robot1\n" == output(argv)


async def test_a_new_host_key_keeps_what_the_file_has(lan: Lan, tmp_path: Path) -> None:
    """The line is appended, also after a last line without its end."""
    known = tmp_path / "known_hosts"
    known.write_text(lan.known_hosts_line(2).strip())
    await works(connector(lan, known_hosts=[known], accept_new=True), robot(lan))
    assert lan.known_hosts_line(2) + lan.known_hosts_line(1) == known.read_text()


async def test_a_key_is_not_recorded_before_login(lan: Lan, tmp_path: Path) -> None:
    """Whoever does not let us in has not proved anything worth recording."""
    stranger = tmp_path / "stranger"
    Key.generate().write(stranger)
    machine = Machine(id="r", host=lan.address(1), user="robot", identity=str(stranger))
    known = tmp_path / "known_hosts"
    error = await failure(connector(lan, known_hosts=[known], accept_new=True), machine)
    assert "auth" == error.cause
    assert not known.exists()


@pytest.mark.parametrize("accept_new", [False, True])
async def test_a_changed_host_key_is_always_refused(
    lan: Lan, tmp_path: Path, accept_new: bool
) -> None:
    """The error has both fingerprints and the command that removes the old key."""
    old = Key.generate()
    known = tmp_path / "known_hosts"
    known.write_text(f"{lan.address(1)} {old.public}\n")
    changed = connector(lan, known_hosts=[known], accept_new=accept_new)
    error = await failure(changed, robot(lan))
    assert "host_key_changed" == error.cause
    assert old.fingerprint in str(error)
    assert lan.fingerprint(1) in str(error)
    assert "re-flashed robot?" in str(error.hint)
    assert f"ssh-keygen -R {lan.address(1)} -f {known}" in str(error.hint)
    assert f"{lan.address(1)} {old.public}\n" == known.read_text()


async def test_the_command_of_the_hint_removes_the_old_key(lan: Lan, tmp_path: Path) -> None:
    """On another port, too: what the hint says to type is right."""
    lan.run(1, ["/usr/sbin/sshd", "-f", "/etc/ssh/sshd_config", "-p", "2222",
                "-o", "PidFile=/run/sshd-2222.pid"])  # fmt: skip
    wait_until(lan.inside(1, "/run/sshd-2222.pid").exists, "it listens")
    old = Key.generate()
    known = tmp_path / "known_hosts"
    known.write_text(f"[{lan.address(1)}]:2222 {old.public}\n")
    machine = robot(lan, port=2222)
    accepting = connector(lan, known_hosts=[known], accept_new=True)
    error = await failure(accepting, machine)
    command = str(error.hint).split(": ", 1)[1].split("; if not")[0]
    output(shlex.split(command))
    assert "robot1" == await works(accepting, machine)
    assert f"[{lan.address(1)}]:2222 " == known.read_text()[: len(lan.address(1)) + 8]
    lan.run(1, ["sh", "-c", "kill $(cat /run/sshd-2222.pid)"])


async def test_a_pin_is_all_that_counts(lan: Lan, tmp_path: Path) -> None:
    """The pinned key is accepted without known_hosts, another one never."""
    nothing = connector(lan, known_hosts=[])
    assert "robot1" == await works(nothing, robot(lan, host_key=lan.fingerprint(1)))
    other = lan.fingerprint(2)
    accepting = connector(lan, accept_new=True)
    error = await failure(accepting, robot(lan, host_key=other))
    assert "host_key_changed" == error.cause
    assert other in str(error)
    assert lan.fingerprint(1) in str(error)
    assert "host_key:" in str(error.hint)


async def test_a_pin_may_be_of_any_key_of_the_host(make_lan: Any, tmp_path: Path) -> None:
    """A host has several keys; the pinned one is found among them."""
    lan = make_lan(1)
    keys = lan.path(1, "/etc/ssh")
    make = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(keys / "second_key")]
    output(make)
    with (keys / "sshd_config").open("a") as config:
        config.write("HostKey /etc/ssh/second_key\n")
    lan.stop_sshd(1)
    lan.start_sshd(1)
    shown = output(["ssh-keygen", "-lf", str(keys / "second_key.pub")])
    pinned = robot(lan, host_key=shown.split()[1])
    assert "robot1" == await works(connector(lan, known_hosts=[]), pinned)


# Users' keys


async def test_a_wrong_key_is_said_so(lan: Lan, tmp_path: Path) -> None:
    """The error has user, key and agent; the hint installs the key."""
    stranger = tmp_path / "stranger"
    Key.generate().write(stranger)
    machine = Machine(id="r", host=lan.address(1), user="robot", identity=str(stranger))
    error = await failure(connector(lan), machine)
    assert "auth" == error.cause
    assert "'robot'" in str(error)
    assert str(stranger) in str(error)
    assert f"ssh-copy-id -i {stranger} robot@{lan.address(1)}" in str(error.hint)
    assert f"ssh -v -i {stranger} robot@{lan.address(1)} true" in str(error.hint)


async def test_a_missing_key_is_said_so(lan: Lan, tmp_path: Path) -> None:
    """`identity` names a file that is not there."""
    missing = tmp_path / "missing"
    machine = Machine(id="r", host=lan.address(1), user="robot", identity=str(missing))
    error = await failure(connector(lan), machine)
    assert "auth" == error.cause
    assert f"cannot read {missing}" in str(error)


async def test_a_file_that_is_no_key_is_said_so(lan: Lan, tmp_path: Path) -> None:
    """`identity` names something else."""
    (tmp_path / "note").write_text("not a key\n")
    machine = Machine(id="r", host=lan.address(1), user="robot", identity=str(tmp_path / "note"))
    error = await failure(connector(lan), machine)
    assert "auth" == error.cause
    assert str(tmp_path / "note") in str(error)


async def test_an_agent_has_the_key(
    lan: Lan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `identity` the agent's keys are tried."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = lan.folder / "agent.sock"
    with running(["ssh-agent", "-D", "-a", str(path)]) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        output(["ssh-add", str(lan.identity)])
        machine = Machine(id="r", host=lan.address(1), user="robot")
        assert "robot1" == await works(connector(lan), machine)
        agent.kill()


# The user's ssh_config


@pytest.fixture
def home(lan: Lan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the key and an ssh_config to write."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(lan.known_hosts.read_text())
    return tmp_path


async def test_unset_values_come_from_ssh_config(lan: Lan, home: Path) -> None:
    """An alias in `host:` is enough."""
    (home / ".ssh/config").write_text(
        f"Host alias\n  Hostname {lan.address(2)}\n  User robot\n  IdentityFile {lan.identity}\n"
        f"  UserKnownHostsFile {home}/absent ~/.ssh/known_hosts\n"
    )
    assert "robot2" == await works(SshConnector(), Machine(id="r", host="alias"))


async def test_the_inventory_goes_before_ssh_config(lan: Lan, home: Path) -> None:
    """User and identity of the inventory are used, whatever ssh_config says."""
    (home / ".ssh/config").write_text("Host *\n  User nobody\n  IdentityFile ~/none\n")
    connection = await SshConnector().connect(robot(lan))
    assert b"robot\n" == (await connection.run(["id", "-un"])).stdout
    await connection.close()


@pytest.mark.parametrize("more", ["", "\nMatch final\n  Compression no\n"])
async def test_no_known_hosts_file_is_not_any_host(lan: Lan, home: Path, more: str) -> None:
    """`UserKnownHostsFile none` means that no host is known."""
    (home / ".ssh/config").write_text(
        f"Host *\n  UserKnownHostsFile none\n  StrictHostKeyChecking no{more}\n"
    )
    error = await failure(SshConnector(), robot(lan))
    assert "host_key_unknown" == error.cause


async def test_a_bad_ssh_config_is_said_so(lan: Lan, home: Path) -> None:
    """The error has file and line."""
    (home / ".ssh/config").write_text("Host *\n  Port many\n")
    error = await failure(SshConnector(), robot(lan))
    assert "config" == error.cause
    assert f"{home}/.ssh/config line 2" in str(error)


async def test_the_settings_of_interactive_sessions_do_not_matter(lan: Lan, home: Path) -> None:
    """RequestTTY, RemoteCommand and the like are for people at terminals."""
    (home / ".ssh/config").write_text(
        "Host *\n  RequestTTY force\n  RemoteCommand top\n  ForwardX11 yes\n  SendEnv ROBOT_*\n"
    )
    assert "robot1" == await works(SshConnector(), robot(lan))


# Jump hosts


async def test_a_jump_host_leads_on(lan: Lan) -> None:
    """`jump:` takes a host, or several, as `ssh -J` does."""
    first = f"robot@{lan.address(1)}"
    assert "robot2" == await works(connector(lan), robot(lan, 2, jump=first))
    both = f"{first},root@{lan.address(2)}:22"
    connection = await connector(lan).connect(robot(lan, 3, jump=both))
    assert b"robot3\n" == (await connection.run(["hostname"])).stdout
    came_from = (await connection.run(["sh", "-c", "echo $SSH_CLIENT"])).stdout.decode()
    assert lan.address(2) == came_from.split()[0]
    await connection.close()


async def test_ssh_config_names_the_jump_host(lan: Lan, home: Path) -> None:
    """ProxyJump works, and for every host, which includes the jump host itself."""
    (home / ".ssh/config").write_text(
        f"Host bastion\n  Hostname {lan.address(1)}\n"
        f"Host *\n  ProxyJump bastion\n  User robot\n  IdentityFile {lan.identity}\n"
    )
    machine = Machine(id="r", host=lan.address(2))
    connection = await SshConnector().connect(machine)
    came_from = (await connection.run(["sh", "-c", "echo $SSH_CLIENT"])).stdout.decode()
    assert lan.address(1) == came_from.split()[0]
    await connection.close()


async def test_a_jump_hosts_key_is_verified(lan: Lan, tmp_path: Path) -> None:
    """An unknown jump host is refused as any other."""
    known = tmp_path / "known_hosts"
    known.write_text(lan.known_hosts_line(2))
    machine = robot(lan, 2, jump=f"robot@{lan.address(1)}")
    error = await failure(connector(lan, known_hosts=[known]), machine)
    assert "host_key_unknown" == error.cause
    assert f"jump host {lan.address(1)}" in str(error)


async def test_what_a_jump_host_cannot_reach_is_said_so(lan: Lan) -> None:
    """Refused there is refused, and the error names the way."""
    machine = robot(lan, 2, port=2, jump=f"robot@{lan.address(1)}")
    error = await failure(connector(lan), machine)
    assert "refused" == error.cause
    assert lan.address(1) in str(error)
    assert lan.address(2) in str(error)


async def test_a_jump_host_that_is_none_is_said_so(lan: Lan) -> None:
    """Not [user@]host[:port]."""
    error = await failure(connector(lan), robot(lan, 2, jump="a:b:c"))
    assert "config" == error.cause


# Ways to fail


async def test_a_closed_port_is_refused(lan: Lan) -> None:
    """The machine is up, and no sshd there."""
    error = await failure(connector(lan), robot(lan, port=2))
    assert "refused" == error.cause
    assert "port 2" in str(error)
    assert f"ssh -v -p 2 -i {lan.identity} robot@{lan.address(1)} true" in str(error.hint)


async def test_a_silent_host_is_a_timeout(lan: Lan) -> None:
    """A cut robot does not answer, and nobody waits for it for long."""
    lan.cut(1)
    error = await failure(connector(lan, connect_timeout=0.5), robot(lan))
    assert "timeout" == error.cause
    assert "no answer" in str(error)
    assert "0.5 s" in str(error)


async def test_an_address_that_nobody_has_is_no_route(lan: Lan) -> None:
    """Nobody on the LAN has the address."""
    machine = Machine(id="r", host=f"{lan.subnet}.200", user="robot", identity=str(lan.identity))
    error = await failure(connector(lan), machine)
    assert "no_route" == error.cause


async def test_a_hanging_sshd_is_told_from_a_silent_host(lan: Lan) -> None:
    """The connection is accepted, and then nothing happens."""
    listen = "import socket, time; s = socket.create_server(('', 2223)); time.sleep(1000)"
    with running(lan.enter(1, ["python3", "-c", listen])):
        while True:
            error = await failure(connector(lan, connect_timeout=2), robot(lan, port=2223))
            if error.cause != "refused":  # not listening yet
                break
        assert "timeout" == error.cause
        assert "accepted the connection" in str(error)
        for process in lan.processes(1):
            if process.argv[-1] == listen:
                lan.kill(1, process.pid)


async def test_something_else_than_ssh_is_a_protocol_error(lan: Lan) -> None:
    """Another protocol answers on the port."""
    speak = (
        "import socket; s = socket.create_server(('', 2224))\n"
        "while True:\n c, _ = s.accept(); c.sendall(b'HTTP/1.1 400 no\\r\\n\\r\\n')\n"
        " c.shutdown(socket.SHUT_WR)\n"
        " while c.recv(4096): pass\n"
    )
    with running(lan.enter(1, ["python3", "-c", speak])):
        while True:
            error = await failure(connector(lan), robot(lan, port=2224))
            if error.cause != "refused":  # not listening yet
                break
        assert "protocol" == error.cause
        for process in lan.processes(1):
            if process.argv[-1] == speak:
                lan.kill(1, process.pid)


async def test_an_unknown_name_is_a_dns_error(lan: Lan) -> None:
    """The error has the name."""
    error = await failure(connector(lan), Machine(id="r", host="no-such-robot.invalid"))
    assert "dns" == error.cause
    assert "'no-such-robot.invalid'" in str(error)
