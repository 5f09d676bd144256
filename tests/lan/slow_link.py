"""A flow that needs more than a slow link has, if it is placed badly; and what arrives of it.

The camera's machine has the slow link. Its frames do not fit through, what a detector makes of them
does. Two machines have what the detector asks for, and the other one is the first in the inventory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.inventory import Machine, load
from dora.dataflow.load import loads
from tests.lan.bench import Lan, wait_until
from tests.scenarios.fleet import Fleet, write_flow

MBIT = 10  # of the slow link
HZ = 20
FRAME = 250_000  # bytes; 40 Mbit/s
ROBOTS = 3
BASE, SPARE, CART = 1, 2, 3  # in the order of the inventory
NAME = "slow-link"
WARM = 10  # frames that have arrived before anything is counted

# Of a camera that was started anew no number is one that there was before.
CAMERA = f"""
import os, time
from dora import Node
node = Node()
frame = os.urandom({FRAME})
count = int(time.time() * 1000)
for event in node:
    if event["type"] == "INPUT":
        node.send_output("frames", frame, {{"n": count}})
        print(count, flush=True)
        count += 1
"""
DETECTOR = """
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("boxes", bytes(100), {"n": event["metadata"]["n"]})
"""
PLOT = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        print(event["metadata"]["n"], flush=True)
"""
FLOW = """
nodes:
  - id: camera
    path: camera.py
    inputs: {{tick: dora/timer/hz/{hz}}}
    outputs: [frames]
    output_rates: {{frames: {{hz: {hz}, bytes: {frame}}}}}
    deploy: {{machine: cart}}
  - id: detector
    path: detector.py
    inputs: {{image: {{source: camera/frames, queue_size: 100}}}}
    outputs: [boxes]
    output_rates: {{boxes: {{hz: {hz}, bytes: 100}}}}
    deploy: {{labels: {{gpu: orin}}{more}}}
  - id: plot
    path: plot.py
    inputs: {{boxes: {{source: detector/boxes, queue_size: 100}}}}
    deploy: {{machine: base}}
"""


@dataclass(frozen=True)
class Counted:
    """In `seconds`: what the camera sent, which of that arrived in the end, and how many bytes left
    its machine."""

    detector: str  # its machine
    seconds: float
    sent: int
    arrived: int
    bytes_out: int


class SlowLink:
    """A LAN of three robots, without a limit yet, and a user at `fleet`."""

    def __init__(self, lan: Lan, folder: Path, cache: Path) -> None:
        self.lan = lan
        self._folder = folder
        inventory = folder / "machines.yml"
        text = lan.inventory_text(user="robot")
        for i, name, more in (
            (BASE, "base", "labels: {gpu: orin}"),
            (SPARE, "spare", "labels: {}"),
            (CART, "cart", f"labels: {{gpu: orin}}\n    link: {MBIT}Mbit"),
        ):
            text = text.replace(f"{lan.name(i)}:\n", f"{name}:\n    {more}\n")
        inventory.write_text(text)
        self.fleet = Fleet(lan.home, inventory, cache=cache)

    def placed_by_us(self, seconds: float) -> Counted:
        return self._count("", seconds)

    def placed_by_first_match(self, seconds: float) -> Counted:
        """As dora-rs does: the first machine that has all labels."""
        detector = loads(_flow(""), "flow.yml").dataflow.nodes["detector"]
        first = first_match(detector.deploy.labels, self._machines())
        return self._count(f", machine: {first}", seconds)

    def end(self) -> None:
        self.lan.rate(CART, None)
        self.fleet.dora("stop", NAME)

    def _machines(self) -> Sequence[Machine]:
        return tuple(load(str(self.fleet.inventory)).machines.values())

    def _count(self, more: str, seconds: float) -> Counted:
        scripts = {"camera.py": CAMERA, "detector.py": DETECTOR, "plot.py": PLOT}
        flow = write_flow(self._folder / "flow", scripts, _flow(more))
        self.lan.rate(CART, None)  # what is copied there is not what is to be seen
        self.fleet.deploy(flow, "--name", NAME)
        machine = self.fleet.nodes(NAME)["detector"]["machine"]
        before = len(self._numbers(BASE, "plot"))
        self.lan.rate(CART, MBIT)
        wait_until(lambda: len(self._numbers(BASE, "plot")) >= before + WARM, "frames arrive")
        first, began = self._numbers(CART, "camera")[-1], time.monotonic()
        bytes_before = self.lan.traffic(CART)[1]
        time.sleep(seconds)
        last, ended = self._numbers(CART, "camera")[-1], time.monotonic()
        bytes_after = self.lan.traffic(CART)[1]
        # Messages stay in order: whatever has not come before a later one does not come any more.
        wait_until(lambda: self._numbers(BASE, "plot")[-1] > last, "frames arrive still")
        wanted = set(range(first + 1, last + 1))
        arrived = wanted & set(self._numbers(BASE, "plot"))
        return Counted(
            machine, ended - began, len(wanted), len(arrived), bytes_after - bytes_before
        )

    def _numbers(self, i: int, node: str) -> list[int]:
        log = self.lan.path(i, f"/home/robot/.local/share/dora/logs/{NAME}/{node}.log")
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(line) for line in lines if line.isdigit()]


def first_match(labels: Mapping[str, str], machines: Sequence[Machine]) -> str:
    return next(it.id for it in machines if labels.items() <= it.labels.items())


def _flow(more: str) -> str:
    return FLOW.format(hz=HZ, frame=FRAME, more=more)
