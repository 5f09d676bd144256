"""The bench itself: robots behave as machines on a LAN do."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lan.bench import BenchError, Lan, Process, wait_until


def ssh(lan: Lan, i: int, command: str, user: str = "robot") -> subprocess.CompletedProcess[str]:
    argv = ["ssh", "-F", "none", "-i", str(lan.identity), "-o", "BatchMode=yes"]
    argv += ["-o", f"UserKnownHostsFile={lan.known_hosts}", "-o", "ConnectTimeout=10"]
    argv += [f"{user}@{lan.address(i)}", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def wait_for(lan: Lan, i: int, command: str) -> Process:
    """The process of that command line, as soon as it is there."""
    found: list[Process] = []

    def look() -> bool:
        found[:] = [process for process in lan.processes(i) if process.command == command]
        return bool(found)

    wait_until(look, f"{command} runs on {lan.name(i)}")
    return found[0]


def reachable(lan: Lan, i: int, within: float = 30.0) -> bool:
    """Whether its sshd answers."""
    try:
        with socket.create_connection((lan.address(i), 22), timeout=within) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.mark.parametrize("user", ["robot", "root"])
def test_both_users_log_in(lan: Lan, user: str) -> None:
    """ssh runs commands as the user, in a home of its own, on the robot by that name."""
    home = {"robot": "/home/robot", "root": "/root"}[user]
    done = ssh(lan, 2, "id -un; hostname; pwd", user)
    assert (0, f"{user}\nrobot2\n{home}\n") == (done.returncode, done.stdout)


def test_the_only_python_is_debians(lan: Lan) -> None:
    """A robot has /usr/bin/python3 and nothing of the developer's machine."""
    assert "/usr/bin/python3\n/bin/python3\n" == ssh(lan, 1, "which -a python3").stdout
    here = Path(__file__).parent
    assert 2 == ssh(lan, 1, f"ls {here}").returncode


def test_robots_have_no_way_out(lan: Lan) -> None:
    """A robot knows no route but its LAN."""
    routes = lan.run(1, ["ip", "route"]).stdout.splitlines()
    assert [f"{lan.subnet}.0/24"] == [route.split()[0] for route in routes]


def test_robots_see_neither_processes_nor_homes_of_others(lan: Lan) -> None:
    """What one robot runs, writes or shares in memory is invisible to the next."""
    ssh(lan, 1, "echo mine > note; echo mine > /dev/shm/note; setsid -f sleep 4711 >/dev/null 2>&1")
    found = wait_for(lan, 1, "sleep 4711")
    assert "mine\n" == lan.path(1, "/home/robot/note").read_text()
    assert [] == [process for process in lan.processes(2) if "4711" in process.command]
    assert "" == ssh(lan, 2, "ls ~ /dev/shm | grep note; ps -e | grep sleep").stdout
    assert not Path("/dev/shm/note").exists()
    lan.kill(1, found.pid)
    lan.run(1, ["rm", "/home/robot/note", "/dev/shm/note"])


def test_a_cut_is_silent_and_heals(lan: Lan) -> None:
    """A cut link loses bytes without a word; they arrive when it heals."""
    with socket.create_connection((lan.address(1), 22), timeout=10) as session:
        assert b"SSH-" == session.recv(4)
        lan.cut(1)
        assert not reachable(lan, 1, within=0.3)
        assert reachable(lan, 2)
        session.sendall(b"SSH-2.0-probe\r\n")
        session.settimeout(0.5)
        session.recv(4096)  # what had arrived before: the rest of the banner
        with pytest.raises(TimeoutError):
            session.recv(4096)
        assert "LOWER_UP" in lan.run(1, ["ip", "link", "show", "eth0"]).stdout
        lan.heal(1)
        session.settimeout(30)
        assert b"" != session.recv(4096)  # the key exchange goes on


def test_robots_reach_each_other_until_cut(lan: Lan) -> None:
    """Robots speak over the LAN; a cut robot is cut off from other robots, too."""
    probe = ["bash", "-c", f"head -c4 </dev/tcp/{lan.address(2)}/22"]
    assert "SSH-" == lan.run(1, probe).stdout
    lan.cut(2)
    assert 0 != lan.run(1, ["timeout", "2", *probe], check=False).returncode


def test_power_off_keeps_the_disk_alone(lan: Lan) -> None:
    """After a power cut the robot has its files and its host key; processes and memory are gone."""
    ssh(lan, 3, "echo kept > disk; echo lost > /dev/shm/memory; echo lost > /tmp/memory")
    ssh(lan, 3, "setsid -f sleep 4712 >/dev/null 2>&1")
    lan.power_off(3)
    assert [] == lan.processes(3)
    assert not reachable(lan, 3, within=0.3)
    with pytest.raises(BenchError, match="robot3 is off"):
        lan.run(3, ["true"])
    lan.power_on(3)
    done = ssh(lan, 3, "cat disk; ls /dev/shm /tmp; ps -e | grep sleep")
    assert "kept\n/dev/shm:\n\n/tmp:\n" == done.stdout
    lan.path(3, "/home/robot/disk").unlink()


def test_power_off_is_silent(lan: Lan) -> None:
    """Nothing tells a peer that a robot lost its power."""
    with socket.create_connection((lan.address(3), 22), timeout=10) as session:
        session.recv(4096)
        lan.power_off(3)
        session.settimeout(0.5)
        with pytest.raises(TimeoutError):
            session.recv(4096)


def test_sshd_stops_alone(lan: Lan) -> None:
    """Without sshd the robot refuses connections while its processes go on."""
    ssh(lan, 1, "setsid -f sleep 4713 >/dev/null 2>&1")
    other = wait_for(lan, 1, "sleep 4713")
    lan.stop_sshd(1)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((lan.address(1), 22), timeout=10)
        assert other in lan.processes(1)
    finally:
        lan.kill(1, other.pid)
        lan.start_sshd(1)
    assert 0 == ssh(lan, 1, "true").returncode


def test_a_rate_limits_both_directions(lan: Lan) -> None:
    """The limit is set at both ends of the link, and is lifted."""
    lan.rate(1, 8)
    for namespace, link in ((f"doralan{lan.subnet[6:]}", "robot1"), (None, "eth0")):
        argv = ["tc", "qdisc", "show", "dev", link]
        if namespace is None:
            shown = lan.run(1, argv).stdout
        else:
            inside = ["ip", "netns", "exec", namespace, *argv]
            shown = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
        assert "rate 8Mbit" in shown
    lan.rate(1, None)
    assert "rate" not in lan.run(1, ["tc", "qdisc", "show", "dev", "eth0"]).stdout


def test_two_benches_run_at_once_and_leave_nothing(lan: Lan) -> None:
    """A second bench has another subnet; after an exception nothing of it remains."""
    other = Lan(1)

    def use_and_fail() -> None:
        with other:
            assert lan.subnet != other.subnet
            assert reachable(other, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    name = f"doralan{other.subnet[6:]}"
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert name not in [line.split()[0].split("-")[0] for line in names.splitlines()]
    assert not Path("/sys/class/net", name).exists()
    assert not other.folder.exists()
    assert "<Lan of 1 robots, on: []>" == repr(other)
    assert reachable(lan, 1)


def test_a_killed_bench_takes_its_robots_along() -> None:
    """After kill -9 of the test process its robots end; the next bench clears what is left."""
    program = (
        "from tests.lan.bench import Lan\n"
        "with Lan(1) as lan:\n"
        "    print(lan._robots[1].init, lan.folder, flush=True)\n"
        "    input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdin is not None
    assert child.stdout is not None
    pid, folder = child.stdout.readline().split()
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the robot has ended")
    with ExitStack() as later:
        for _ in range(5):  # the subnet is the next free one, unless others take and free some
            if Path(folder).exists():
                later.enter_context(Lan(1))
    assert not Path(folder).exists()


def test_a_fresh_lan_takes_other_sshd_settings(make_lan: Callable[..., Lan]) -> None:
    """Lines of sshd_config are the test's to change."""
    fresh = make_lan(1, sshd={"MaxSessions": "2"})
    assert "maxsessions 2" in fresh.run(1, ["/usr/sbin/sshd", "-T"]).stdout
