"""Whole stories on real OpenSSH hosts: the same commands, a network in between."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "flow.yml"
BOTH = re.compile(r"base: load .* rover: load ")
BASE, ROVER = 1, 2


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """Robots 1 and 2 as `base` and `rover`, reached as the user `robot`, who is not root."""
    inventory = tmp_path / "machines.yml"
    text = lan.inventory_text(user="robot")
    text = text.replace("robot1:", "base:").replace("robot2:", "rover:")
    inventory.write_text(text.split("  robot3:")[0])
    fleet = Fleet(lan.home, inventory, cache=cache)
    yield fleet
    for i in (BASE, ROVER):
        lan.power_on(i)
        lan.heal(i)
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)


def of_robot(lan: Lan, i: int) -> list[str]:
    """What the user `robot` has running there, but for SSH sessions."""
    return [it.command for it in lan.processes(i) if it.uid and "sshd" not in it.argv[0]]


def test_the_quickstart_on_openssh_hosts(lan: Lan, fleet: Fleet) -> None:
    """Deploy, look, deploy again, stop: data crosses the bridge, and nothing is left behind."""
    first = fleet.deploy(QUICKSTART)
    assert "deployed" == first["outcome"]
    nodes = fleet.nodes()
    assert {"running"} == {row["state"] for row in nodes.values()}
    on_base = {process.pid for process in lan.processes(BASE)}
    assert {row["pid"] for row in nodes.values() if row["machine"] == "base"} <= on_base

    wait_until(lambda: any(map(BOTH.match, fleet.lines("show"))), "both machines' vitals")

    pids = fleet.pids()
    again = fleet.deploy(QUICKSTART)
    assert "unchanged" == again["outcome"]
    assert pids == fleet.pids()

    # Between machines there is one open port each, and it speaks to nobody without our keys.
    listening = lan.run(BASE, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout
    assert {"0016"} == {
        row.split()[1].split(":")[1]
        for row in listening.splitlines()
        if len(row.split()) > 3 and row.split()[3] == "0A"
    }

    fleet.dora("stop", "quickstart")
    for i in (BASE, ROVER):
        wait_until(lambda: of_robot(lan, i) == [], "the last process to end")  # noqa: B023
        assert lan.run(i, ["find", "/dev/shm", "-mindepth", "1"]).stdout == ""
        found = lan.run(i, ["find", "/home/robot", "/tmp", "-type", "s", "-o", "-type", "p"])
        assert found.stdout == ""


def test_a_robot_that_is_off_stops_nobody(lan: Lan, fleet: Fleet) -> None:
    """The others are deployed; cause and next step are named; exit code 4. When it is back, the
    same command completes the deployment."""
    lan.power_off(ROVER)
    result = fleet.deploy(QUICKSTART, code=4)

    assert "partly_unreachable" == result["outcome"]
    rows = {row["machine"]: row for row in result["machines"]}
    assert rows["rover"]["outcome"] == "unreachable"
    assert rows["rover"]["hint"]
    status = fleet.json("status", code=4)
    assert {"base": "up", "rover": "unknown"} == {
        name: row["link"] for name, row in status["machines"].items()
    }
    nodes = {row["node"]: row for row in status["nodes"]}
    assert {"running"} == {row["state"] for row in nodes.values() if row["machine"] == "base"}
    assert "unknown" == nodes["rover-vitals"]["state"]

    lan.power_on(ROVER)
    assert "deployed" == fleet.deploy(QUICKSTART)["outcome"]
    wait_until(lambda: any(map(BOTH.match, fleet.lines("show"))), "both machines' vitals")


def test_a_cut_link_leaves_everything_running(lan: Lan, fleet: Fleet) -> None:
    """Promise 1: the nodes of both sides keep their processes; data flows again after the cut."""
    fleet.deploy(QUICKSTART)
    wait_until(lambda: any(map(BOTH.match, fleet.lines("show"))), "both machines' vitals")
    pids = fleet.pids()

    lan.cut(ROVER)
    wait_until(lambda: fleet.nodes(code=4)["rover-vitals"]["state"] == "unknown", "the cut shows")
    rows = {row["node"]: row for row in fleet.json("status", code=4)["nodes"]}
    assert "running" == rows["base-vitals"]["state"]
    on_rover = {process.pid for process in lan.processes(ROVER)}
    assert {pid for name, pid in pids.items() if name.endswith("@rover")} <= on_rover
    lan.heal(ROVER)

    assert pids == fleet.pids()

    def fresh() -> bool:
        rows = [it for it in fleet.lines("show") if BOTH.match(it)]
        return len({it.split("rover:")[1] for it in rows[-4:]}) > 1

    wait_until(fresh, "new vitals of the rover after the cut")


def test_the_watch_tells_of_a_lost_link_and_of_its_return(lan: Lan, fleet: Fleet) -> None:
    """Attached, `deploy` shows lines, says since when a machine is unknown, and when it is back."""
    watcher = fleet.start("deploy", QUICKSTART)
    said: list[str] = []
    assert watcher.stdout is not None
    try:
        for line in watcher.stdout:
            said.append(line)
            if "base: load" in line:
                break
        lan.cut(ROVER)
        for line in watcher.stdout:
            said.append(line)
            if "rover: unknown since" in line:
                break
        lan.heal(ROVER)
        for line in watcher.stdout:
            said.append(line)
            if "rover: back after" in line:
                break
        watcher.send_signal(signal.SIGINT)
        said += watcher.stdout.readlines()
        assert 0 == watcher.wait(60)
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
    assert any("rover: unknown since" in line for line in said), "".join(said)
    assert any("rover: back after" in line for line in said), "".join(said)
    assert any("quickstart keeps running" in line for line in said), "".join(said)
    assert {"running"} == {row["state"] for row in fleet.nodes().values()}
