"""Replicas come and go under load: nothing is lost or comes twice, each key stays in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.fleet import Fleet, wait_until, write_flow
from tests.scenarios.staying import Coordinator

EXAMPLE = Path(__file__).parents[2] / "examples" / "replicas" / "flow.yml"

SOURCE = """
from dora import Node
node = Node()
number = 0
for event in node:
    if event["type"] == "STOP":
        break
    for _ in range(10):
        node.send_output("work", b"", {"key": number % 7, "number": number // 7})
        number += 1
"""

WORKER = """
import time
from dora import Node
node = Node()
for event in node:
    if event["type"] == "STOP":
        break
    if event["type"] == "INPUT":
        time.sleep(0.004)
        node.send_output("done", b"", event["metadata"])
"""

SINK = """
import json
from collections import Counter
from dora import Node
node = Node()
by, last, wrong, count = Counter(), {}, 0, 0
for event in node:
    if event["type"] == "STOP":
        break
    if event["type"] == "INPUT" and event["id"] == "done":
        of = event["metadata"]
        count += 1
        by[of["replica"]] += 1
        wrong += of["number"] != last.get(of["key"], -1) + 1
        last[of["key"]] = of["number"]
    elif event["type"] == "INPUT":
        print(json.dumps({"count": count, "wrong": wrong, "by": by}), flush=True)
"""

FLOW = """
nodes:
  - id: source
    path: source.py
    inputs: {{tick: dora/timer/millis/5}}
    outputs: [work]
    deploy: {{machine: base}}
  - id: worker
    path: worker.py
    inputs:
      work: {{source: source/work, queue_size: 10, queue_policy: backpressure, key: key}}
    outputs: [done]
    deploy: {deploy}
  - id: sink
    path: sink.py
    inputs:
      done: {{source: worker/done, queue_size: 5000}}
      tick: dora/timer/millis/200
    deploy: {{machine: base}}
"""


def told(log: Path) -> list[dict[str, Any]]:
    """What the sink has printed."""
    lines = [line.partition("{") for line in log.read_text().splitlines()]
    return [json.loads(brace + rest) for _, brace, rest in lines if rest.endswith("}}")]


def told_last(log: Path) -> dict[str, Any]:
    return [{"by": {}, "count": 0, "wrong": 0}, *told(log)][-1]


def work_of(log: Path, *replicas: int) -> None:
    """Each of these does some."""
    before = told_last(log)["by"]

    def some() -> bool:
        now = told_last(log)["by"]
        return all(now.get(str(it), 0) > before.get(str(it), 0) + 20 for it in replicas)

    wait_until(some, f"work of replicas {replicas}")


def first_alone(log: Path) -> bool:
    """Of what was done since the line before the last, all was done by replica 1."""
    before, now = [{"by": {}}, {"by": {}}, *told(log)][-2:]
    busy = {it for it, count in now["by"].items() if count > before["by"].get(it, 0)}
    return busy == {"1"}


@pytest.mark.parametrize(
    ("deploy", "first", "machines"),
    [
        ("{machine: base, replicas: 1}", 1, {"base"}),
        ("{spread: true, replicas: 2}", 2, {"base", "rover"}),
    ],
    ids=["shm", "zenoh"],
)
def test_scaling_under_load_loses_nothing(
    embedded: Fleet, tmp_path: Path, deploy: str, first: int, machines: set[str]
) -> None:
    """1 -> 4 -> 1: no other process is started anew, and `dora rollback` goes back."""
    scripts = {"source.py": SOURCE, "worker.py": WORKER, "sink.py": SINK}
    embedded.deploy(write_flow(tmp_path / "crowd", scripts, FLOW.format(deploy=deploy)))
    log = embedded.home / "data/dora/embedded/base/.local/share/dora/logs/crowd/sink.log"

    names = {f"worker.{number}" for number in range(1, 5)}
    work_of(log, *range(1, first + 1))
    before = embedded.nodes()
    assert machines == {before[name]["machine"] for name in names & before.keys()}
    assert first == len(names & before.keys())

    embedded.json("scale", "worker=4", "crowd")
    work_of(log, 1, 2, 3, 4)
    after = embedded.nodes()
    assert {name: row["pid"] for name, row in before.items()} == {
        name: row["pid"] for name, row in after.items() if name in before
    }
    assert names < after.keys()

    embedded.json("scale", "worker=1", "crowd")
    work_of(log, 1)
    left = embedded.nodes()
    assert {"worker.1"} == left.keys() & names
    assert all(left[name]["pid"] == before[name]["pid"] for name in left)
    assert 0 == told_last(log)["wrong"]

    if machines == {"base"}:  # once is enough
        embedded.dora("rollback", "crowd")
        work_of(log, 1, 2, 3, 4)
    end = told_last(log)
    assert 0 == end["wrong"]
    assert sum(end["by"].values()) == end["count"]


OPERATOR_SOURCE = """
from dora import DoraStatus
class Operator:
    def __init__(self):
        self.number = 0
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            for _ in range(10):
                it = {"key": self.number % 7, "number": self.number // 7}
                send_output("work", b"", it)
                self.number += 1
        return DoraStatus.CONTINUE
"""

OPERATOR_WORKER = """
import time
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            time.sleep(0.004)
            send_output("done", b"", dora_event["metadata"])
        return DoraStatus.CONTINUE
"""

OPERATORS = """
nodes:
  - id: rt
    operators:
      - {id: source, python: source.py, inputs: {tick: dora/timer/millis/5}, outputs: [work]}
      - id: worker
        python: worker.py
        thread: true
        replicas: 1
        inputs:
          work: {source: source/work, queue_size: 10, queue_policy: backpressure, key: key}
        outputs: [done]
    deploy: {machine: base}
  - id: sink
    path: sink.py
    inputs:
      done: {source: rt/worker/done, queue_size: 5000}
      tick: dora/timer/millis/200
    deploy: {machine: base}
"""

ALONE = "machines:\n  base: {host: embedded}\n"


def test_operators_scale_in_their_runtime(embedded: Fleet, tmp_path: Path) -> None:
    """1 -> 4 -> 1 under load: nothing is lost, and no process is started anew."""
    embedded.inventory.write_text(ALONE)
    scripts = {"source.py": OPERATOR_SOURCE, "worker.py": OPERATOR_WORKER, "sink.py": SINK}
    embedded.deploy(write_flow(tmp_path / "crew", scripts, OPERATORS))
    log = embedded.home / "data/dora/embedded/base/.local/share/dora/logs/crew/sink.log"
    before = {name: row["pid"] for name, row in embedded.nodes().items()}
    work_of(log, 1)

    embedded.json("scale", "rt/worker=4", "crew")
    work_of(log, 1, 2, 3, 4)

    embedded.json("scale", "rt/worker=1", "crew")
    wait_until(lambda: first_alone(log), "that the first replica works alone")

    assert before == {name: row["pid"] for name, row in embedded.nodes().items()}
    end = told_last(log)
    assert 0 == end["wrong"]
    assert sum(end["by"].values()) == end["count"]


def proven(fleet: Fleet, deployment: str, generation: int) -> bool:
    """Whether that one runs, on trial no more."""
    machine = fleet.json("status")["machines"]["base"]
    trial = machine["trials"].get(deployment)
    return generation == machine["generations"].get(deployment) and trial is None


def test_operators_scale_themselves(embedded: Fleet, tmp_path: Path) -> None:
    """A coordinator sees what waits; no process is started anew, nothing is lost, and the next
    deployment keeps the number."""
    embedded.inventory.write_text(ALONE)
    scripts = {"source.py": OPERATOR_SOURCE, "worker.py": OPERATOR_WORKER, "sink.py": SINK}
    bounds = "autoscale: {max: 2, target_queue: 3, cooldown: 2s}"
    flow = write_flow(tmp_path / "team", scripts, OPERATORS.replace("replicas: 1", bounds))
    log = embedded.home / "data/dora/embedded/base/.local/share/dora/logs/team/sink.log"
    coordinator = Coordinator(embedded, flow)
    try:
        wait_until(lambda: coordinator.says('"deployed"'), "the first deployment")
        pids = {name: row["pid"] for name, row in embedded.nodes().items()}
        wait_until(lambda: coordinator.says("rt/worker 1 -> 2"), "that it scales")
        work_of(log, 1, 2)
        wait_until(lambda: proven(embedded, "team", 2), "that its generation is confirmed")
    finally:
        coordinator.end()

    assert "unchanged" == embedded.deploy(flow)["outcome"]
    after = embedded.nodes()
    assert {"worker": 2} == after["rt"]["replicas"]
    assert {"source", "worker.1", "worker.2"} >= after["rt"]["busy"].keys() > {"source"}
    assert pids == {name: row["pid"] for name, row in after.items()}
    assert 0 == told_last(log)["wrong"]


def test_the_example_counts_every_frame() -> None:
    """Two detectors share them; none is missing, none out of order, and all end."""
    done = subprocess.run(
        [sys.executable, "-m", "dora.cli", "run", EXAMPLE],
        env={**os.environ, "FRAMES": "200", "SECONDS_PER_FRAME": "0.001"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    last = done.stdout.splitlines()[-1]
    assert re.search(r"200 frames \(1: [1-9]\d*, 2: [1-9]\d*\), 0 out of order", last), done.stdout
