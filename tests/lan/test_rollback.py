"""Generations that prove themselves, on real OpenSSH hosts: what is left when that fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until, write_flow

NAMES = {1: "base", 2: "rover", 3: "drone"}
ROVER = 2
ROOT = "/home/robot/.local/share/dora"

NODE = """
import time
print("VERSION", flush=True)
time.sleep(PAUSE)
from dora import Node
for event in Node():
    pass
"""
NEVER_READY = "import time\nprint('up', flush=True)\ntime.sleep(1000)\n"


def flow(folder: Path, version: str, *, pause: float = 0.0) -> Path:
    """A node on each robot, which says its version; `pause` seconds later it is ready."""
    text = NODE.replace("VERSION", version).replace("PAUSE", str(pause))
    rows = [
        f"  - {{id: on-{name}, path: {name}.py, inputs: {{t: dora/timer/millis/500}}, "
        f"deploy: {{machine: {name}}}}}\n"
        for name in NAMES.values()
    ]
    scripts = {f"{name}.py": text for name in NAMES.values()}
    return write_flow(folder / "proven", scripts, "nodes:\n" + "".join(rows))


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """All three robots, reached as the user `robot`."""
    inventory = tmp_path / "machines.yml"
    text = lan.inventory_text(user="robot")
    for i, name in NAMES.items():
        text = text.replace(f"robot{i}:", f"{name}:")
        lan.run(i, ["rm", "-rf", f"{ROOT}/deployments/proven", f"{ROOT}/logs/proven"])
    inventory.write_text(text)
    fleet = Fleet(lan.home, inventory, cache=cache)
    yield fleet
    for i in NAMES:
        lan.power_on(i)
        lan.heal(i)
    if fleet.json("status")["nodes"]:
        fleet.dora("stop", "proven")


def said(lan: Lan, i: int) -> list[str]:
    """The node's log, read on the robot's disk: also while its link is cut."""
    log = lan.path(i, f"{ROOT}/logs/proven/on-{NAMES[i]}.log")
    return log.read_text().splitlines() if log.exists() else []


def current(lan: Lan, i: int) -> str | None:
    link = lan.path(i, f"{ROOT}/deployments/proven/current")
    return os.readlink(link) if link.is_symlink() else None


def of_robot(lan: Lan, i: int) -> list[str]:
    """What the user `robot` has running there, but for SSH sessions."""
    return [it.command for it in lan.processes(i) if it.uid and "sshd" not in it.argv[0]]


def nodes_of(lan: Lan, i: int) -> list[str]:
    return [command for command in of_robot(lan, i) if f"{NAMES[i]}.py" in command]


def test_a_robot_that_is_cut_off_while_it_proves_itself_goes_back(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """The others go back as they are told to; the one that hears nothing does so by itself, seen
    from inside while the link is still cut. Then the truth is told, and a deploy completes."""
    fleet.deploy(flow(tmp_path, "one"))
    kept = {name: pid for name, pid in fleet.pids().items() if name.startswith("dora-router")}
    slow = flow(tmp_path, "two", pause=4.0)
    deploying = fleet.start("deploy", slow, "--detach", "--json", "--confirm-timeout", "16")
    try:
        wait_until(lambda: said(lan, ROVER)[-1:] == ["two"], "the new generation starts")
        lan.cut(ROVER)
        output, _ = deploying.communicate(timeout=60)
    finally:
        deploying.kill()
        deploying.wait()
    assert 5 == deploying.returncode, output
    result = json.loads(output[output.index("\n{\n") :])
    rows = {row["machine"]: row for row in result["machines"]}
    assert "unconfirmed" == result["outcome"]
    assert ["rolled_back", "unconfirmed", "rolled_back"] == [
        rows[name]["outcome"] for name in NAMES.values()
    ]
    assert rows["rover"]["back_at"] > 0
    assert "goes back by itself at" in output

    for i in NAMES:
        wait_until(lambda: current(lan, i) == "generations/1.json", "the way back")  # noqa: B023
        wait_until(lambda: said(lan, i)[-1:] == ["one"], "the old node")  # noqa: B023
        assert 1 == len(nodes_of(lan, i))

    lan.heal(ROVER)
    state = fleet.json("status")
    assert {"running"} == {row["state"] for row in state["nodes"]}
    assert 1 == state["machines"]["rover"]["generations"]["proven"]
    assert kept == {name: pid for name, pid in fleet.pids().items() if name in kept}
    newest = fleet.json("generations", "proven")["revisions"][0]
    assert newest["failed"]
    assert "not confirmed in time" in newest["machines"]["rover"]["failure"]
    assert "deployed" == fleet.deploy(flow(tmp_path, "three"))["outcome"]
    assert [["three"]] * 3 == [said(lan, i)[-1:] for i in NAMES]


def test_one_of_three_that_fails_takes_all_back(lan: Lan, fleet: Fleet, tmp_path: Path) -> None:
    """Exit code 5; each robot runs what it ran, and keeps what failed with its last words."""
    fleet.deploy(flow(tmp_path, "one"))
    bad = flow(tmp_path, "two")
    (bad.parent / "rover.py").write_text("raise SystemExit('no camera')\n")

    result = fleet.deploy(bad, code=5)

    assert {"rolled_back"} == {row["outcome"] for row in result["machines"]}
    assert {"rover: on-rover exited with code 1"} == {row["reason"] for row in result["machines"]}
    assert ["generations/1.json"] * 3 == [current(lan, i) for i in NAMES]
    for i in NAMES:
        wait_until(lambda: said(lan, i)[-1:] == ["one"], "the old node")  # noqa: B023
    file = lan.path(ROVER, f"{ROOT}/deployments/proven/generations/2.json")
    failure = json.loads(file.read_text())["failure"]
    assert ["no camera"] == failure["units"]["on-rover"]["last_lines"][-1:]


def test_a_first_generation_that_is_never_ready_leaves_nothing_running(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """There is nothing to go back to; it is kept to be looked at."""
    bad = flow(tmp_path, "one")
    (bad.parent / "drone.py").write_text(NEVER_READY)

    result = fleet.deploy(bad, "--confirm-timeout", "12", code=5)

    assert {"rolled_back"} == {row["outcome"] for row in result["machines"]}
    assert [None] * 3 == [row["generation"] for row in result["machines"]]
    assert [] == fleet.json("status")["nodes"]
    for i in NAMES:
        wait_until(lambda: of_robot(lan, i) == [], "the last process to end")  # noqa: B023
    drone = lan.path(3, f"{ROOT}/deployments/proven/generations/1.json")
    failure = json.loads(drone.read_text())["failure"]
    assert {"on-drone"} == set(failure["units"])
    assert ["up"] == failure["units"]["on-drone"]["last_lines"]
