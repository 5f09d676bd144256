"""Secrets over a real network, on a real disk: on the robot they are in one place alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until, write_flow
from tests.scenarios.hunt import told_to

ROBOT = 3
TOKEN, KEY = "plugh-31415-token", "plugh-31415-key"
NODE = """
import hashlib, os
from dora import Node
node = Node()
for name in ("TOKEN", "KEY_FILE"):
    value = os.environ[name]
    value = open(value, "rb").read() if name.endswith("_FILE") else value.encode()
    print(name, hashlib.sha256(value).hexdigest()[:12], flush=True)
for event in node:
    pass
"""
FLOW = """\
nodes:
  - id: guarded
    path: guarded.py
    restart_policy: always
    inputs: {tick: dora/timer/secs/1}
    secrets:
      TOKEN: {env: GUARDED_TOKEN}
      KEY: {file: key, as: path}
"""


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    inventory = tmp_path / "machines.yml"
    inventory.write_text(
        "machines:\n  robot3:" + lan.inventory_text(user="robot").split("  robot3:")[1]
    )
    fleet = Fleet(lan.home, inventory, cache=cache)
    yield fleet
    lan.power_on(ROBOT)
    fleet.dora("stop", "guarded")


def test_secrets_on_a_robot_are_in_its_private_files_alone(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """The whole disk, all memory file systems, all command lines and logs are looked through.
    After a reboot the robot still has what its generation refers to."""
    flow = write_flow(tmp_path / "guarded", {"guarded.py": NODE}, FLOW)
    (flow.parent / "key").write_text(KEY)
    fleet.env["GUARDED_TOKEN"] = TOKEN
    fleet.deploy(flow)
    told = told_to({"KEY_FILE": KEY, "TOKEN": TOKEN})
    wait_until(lambda: sorted(fleet.lines("guarded")) == told, "the node to find its secrets")

    command = ["grep", "-raslF", "--devices=skip", "-e", "plugh-31415", "/etc", "/home", "/root"]
    command += ["/var", "/tmp", "/run", "/dev/shm"]
    found = lan.run(ROBOT, command, check=False).stdout.splitlines()
    folder = "/home/robot/.local/share/dora/secrets/guarded/"
    assert (2, True) == (len(found), all(path.startswith(folder) for path in found))
    kept = lan.run(ROBOT, ["stat", "-c", "%a %U", folder, *found]).stdout.splitlines()
    assert ["700 robot", "600 robot", "600 robot"] == kept
    assert not any("plugh" in word for it in lan.processes(ROBOT) for word in it.argv)

    lan.power_off(ROBOT)
    lan.power_on(ROBOT)
    assert [] == fleet.json("plan", flow)["machines"][0].get("missing", [])
    fleet.deploy(flow)
    wait_until(lambda: sorted(fleet.lines("guarded")) == sorted(2 * told), "its secrets again")
