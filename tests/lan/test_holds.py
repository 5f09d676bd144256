"""Updates that are held up on a real OpenSSH host: by a node, by a person, through a power cut."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until, write_flow

ROVER = 2
ROOT = "/home/robot/.local/share/dora"
NODE = """
from dora import Node
node = Node()
hold = node.hold_updates("driving")
print("VERSION drives", flush=True)
for event in node:
    pass
"""
FLOW = """\
nodes:
  - id: drive
    path: drive.py
    inputs: {t: dora/timer/millis/500}
    deploy: {machine: rover}
"""


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """The robots, reached as the user `robot`; afterwards nothing is deployed on `rover`."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(lan.inventory_text(user="robot").replace(f"robot{ROVER}:", "rover:"))
    yield Fleet(lan.home, inventory, cache=cache)
    lan.power_off(ROVER)
    lan.path(ROVER, f"{ROOT}/paused.json").unlink(missing_ok=True)
    for left in ("deployments", "logs", "run", "state"):
        shutil.rmtree(lan.path(ROVER, f"{ROOT}/{left}"), ignore_errors=True)
    lan.power_on(ROVER)


def test_a_pause_survives_a_power_cut_and_a_hold_does_not(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """Nothing is changed on a paused robot, which runs what it ran; its node may hold anew."""

    def flow(version: str) -> Path:
        return write_flow(tmp_path / "held", {"drive.py": NODE.replace("VERSION", version)}, FLOW)

    def drives(version: str) -> bool:
        log = lan.path(ROVER, f"{ROOT}/logs/held/drive.log")
        return log.exists() and f"{version} drives" in log.read_text()

    fleet.deploy(flow("one"), "--window", "0.2")
    wait_until(lambda: drives("one"), "the hold")
    refused = fleet.dora("deploy", flow("two"), "--detach", code=6).stderr
    assert "updates are held up by drive of held since" in refused
    fleet.dora("machines", "pause", "rover", "--reason", "on a ladder")

    lan.power_off(ROVER)
    lan.power_on(ROVER)
    assert lan.path(ROVER, f"{ROOT}/paused.json").exists()
    (pause,) = fleet.json("machines", "check")["rover"]["holds"]
    assert ("on a ladder", None) == (pause["reason"], pause["unit"])
    assert "on a ladder" in fleet.dora("deploy", flow("two"), "--detach", code=6).stderr
    fleet.dora("machines", "resume", "rover")
    result = fleet.deploy(flow("two"), "--window", "0.2", "--ignore-holds")
    assert "deployed" == result["outcome"]
    wait_until(lambda: drives("two"), "the new hold")
