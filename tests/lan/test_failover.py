"""Machines that are lost: what may move runs elsewhere, and never twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until, write_flow
from tests.scenarios.staying import Coordinator

NAMES = {1: "base", 2: "rover", 3: "drone"}
BASE, ROVER, DRONE = NAMES
GRACE = 10  # seconds, the shortest

CAMERA = """
from dora import Node
node, number = Node(), 0
for event in node:
    if event["type"] == "INPUT":
        number += 1
        node.send_output("frames", b"", {"number": number})
"""
DETECTOR = """
import socket
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("boxes", b"", {"by": socket.gethostname(), **event["metadata"]})
"""
SHOW = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        print(event["metadata"]["by"], event["metadata"]["number"], flush=True)
    else:
        print("told", event["type"], event.get("id"), flush=True)
"""
FLOW = """
nodes:
  - id: camera
    path: camera.py
    deploy: {machine: base}
    inputs: {tick: dora/timer/millis/100}
    outputs: [frames]
  - id: detector
    path: detector.py
    deploy: {labels: {sees: "yes"}, on_machine_loss: move}
    inputs: {frames: camera/frames}
    outputs: [boxes]
  - id: show
    path: show.py
    deploy: {machine: base}
    inputs: {boxes: {source: detector/boxes, input_timeout: 5s}}
  - id: lamp
    path: lamp.py
    deploy: {machine: rover}
  - {id: left, path: lamp.py, deploy: {machine: drone}}
  - {id: right, path: lamp.py, deploy: {machine: drone}}
"""
LAMP = "from dora import Node\nfor event in Node():\n    pass\n"
# What starts at boot, where that is enabled.
BOOT = """
import pathlib, sys
root = pathlib.Path.home() / ".local/share/dora"
(agent,) = (root / "agent").iterdir()
sys.path.insert(0, str(agent))
from deploy.supervisor.main import main
sys.exit(main(agent.name, str(root), "start", []))
"""


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """Robots base, rover and drone; the last two `see`."""
    inventory = tmp_path / "machines.yml"
    text = lan.inventory_text(user="robot", grace=f"{GRACE}s")
    for i, name in NAMES.items():
        text = text.replace(f"robot{i}:", f"{name}:")
    for name in ("rover", "drone"):
        text = text.replace(f"  {name}:\n", f"  {name}:\n    labels: {{sees: 'yes'}}\n")
    inventory.write_text(text)
    fleet = Fleet(lan.home, inventory, cache=cache)
    yield fleet
    for i in NAMES:
        lan.power_on(i)
        lan.heal(i)
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)


def runs(lan: Lan, i: int, script: str) -> bool:
    return any(script in it.command for it in lan.processes(i))


class Detectors:
    """Looks at the processes of the robots all the time: where the detector runs, and whether it
    ever ran on two of them."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan
        self.on: frozenset[int] = frozenset()
        self.twice: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            try:
                self.on = frozenset(i for i in NAMES if runs(self._lan, i, "detector.py"))
            except OSError:
                continue  # a robot that went off while we looked
            if len(self.on) > 1:
                self.twice.append(time.monotonic())

    def end(self) -> None:
        self._end.set()
        self._thread.join(30)


def test_what_may_move_outlives_its_machine_and_never_runs_twice(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """Cut off, it ends by itself before another robot begins; back again, the first starts nothing
    of it. A rollback takes it back; off for good, the other one takes over again, and booted it
    waits to be told. Nodes elsewhere keep their processes, and hear by their timeouts. Without a
    coordinator it ends, and what does not move runs on."""
    flow = write_flow(
        tmp_path / "seeing",
        {"camera.py": CAMERA, "detector.py": DETECTOR, "show.py": SHOW, "lamp.py": LAMP},
        FLOW,
    )
    flow = flow.rename(flow.with_name("seeing.yml"))
    coordinator, detectors = Coordinator(fleet, flow), Detectors(lan)

    def shown() -> list[str]:
        return [line for line in coordinator.lines("show") if line.startswith("robot")]

    def seen_by(i: int) -> bool:
        return bool(lines := shown()) and lines[-1].startswith(f"robot{i} ")

    def deployed(machine: str) -> list[str]:
        rows = fleet.json("status")["nodes"]
        return [row["node"] for row in rows if row["machine"] == machine]

    try:
        wait_until(lambda: seen_by(ROVER), "the rover sees")
        before = fleet.pids()

        lan.cut(ROVER)
        wait_until(lambda: not detectors.on, "the lease to end")
        wait_until(lambda: seen_by(DRONE), "the drone sees")
        after = fleet.pids(code=4)
        assert before["camera@base"] == after["camera@base"]
        assert before["show@base"] == after["show@base"]
        row = fleet.nodes(code=4)["detector"]
        assert ("drone", "running") == (row["machine"], row["state"])
        assert row["moved"].startswith("from rover: lost since 20")
        newest = fleet.json("generations", "seeing", code=4)["revisions"][0]
        assert newest["note"].startswith("moved detector rover -> drone; rover was not heard")
        events = [line for line in coordinator.lines("show") if line.startswith("told")]
        assert ["told INPUT_CLOSED boxes", "told INPUT_RECOVERED boxes"] == events

        lan.heal(ROVER)
        wait_until(lambda: coordinator.says("rover is back"), "the rover to be heard")
        wait_until(lambda: deployed("rover") == ["lamp"], "the rover to learn it")
        assert frozenset({DRONE}) == detectors.on

        fleet.dora("rollback", "seeing")
        wait_until(lambda: seen_by(ROVER), "the rover sees as before")
        lan.power_off(ROVER)
        wait_until(lambda: seen_by(DRONE), "what was taken back is moved again")
        lan.power_on(ROVER, sshd=False)
        lan.cut(ROVER)
        lan.run(ROVER, ["/usr/bin/python3", "-c", BOOT], user="robot")
        wait_until(lambda: runs(lan, ROVER, "lamp.py"), "what does not move, at boot")
        lan.heal(ROVER)
        lan.start_sshd(ROVER)
        wait_until(lambda: deployed("rover") == ["lamp"], "the rover to learn it again")
        numbers = [line.split()[1] for line in shown()]
        assert len(set(numbers)) == len(numbers)

        coordinator.end()
        wait_until(lambda: not detectors.on, "the lease to end without a coordinator")
        nodes = fleet.nodes()
        assert "its lease is over" in nodes["detector"]["error"]
        assert ("running", "running") == (nodes["camera"]["state"], nodes["show"]["state"])
        assert before["camera@base"] == fleet.pids()["camera@base"]
        assert "none keeps seeing now" in fleet.dora("plan", flow).stdout
        assert [] == detectors.twice
    finally:
        detectors.end()
        coordinator.end(signal.SIGKILL)
