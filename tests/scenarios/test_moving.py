"""A node moves to another machine and back, and everybody who speaks to it keeps the process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow

SOURCE = """
import numpy
from dora import Node
node = Node()
number = 0
for event in node:
    if event["type"] == "INPUT":
        number += 1
        node.send_output("numbers", numpy.array([number]))
        node.send_output("frames", numpy.full(20_000, number))
"""
RELAY = """
import os
import numpy
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT" and event["id"] == "numbers":
        node.send_output("relayed", numpy.array([os.getpid()]))
    elif event["type"] == "INPUT":
        node.send_output("echoed", event["value"], {"pid": os.getpid()})
"""
TWIN = """
import os
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("shared", event["value"], {"pid": os.getpid()})
"""
SINK = """
from dora import Node
last, seen = {}, set()
for event in Node():
    if event["type"] != "INPUT":
        print(event["type"], event["id"], flush=True)
        continue
    value = event["value"][0].as_py()
    if event["id"] in ("numbers", "frames"):
        if last.get(event["id"], value - 1) != value - 1:
            print("gap in", event["id"], "before", value, flush=True)
        last[event["id"]] = value
        if value % 100 == 0:
            print("at", event["id"], flush=True)
        continue
    pid = value if event["id"] == "relayed" else event["metadata"]["pid"]
    if (event["id"], pid) not in seen:
        seen.add((event["id"], pid))
        print(event["id"], "of", pid, flush=True)
"""
OPERATOR = """
from dora import DoraStatus
class Operator:
    def __init__(self):
        self.seen = set()
    def on_event(self, event, send_output):
        if event["type"] == "INPUT" and event["id"] == "numbers":
            send_output("echo", event["value"], {})
        elif event["type"] == "INPUT":
            pid = event["value"][0].as_py()
            if pid not in self.seen:
                self.seen.add(pid)
                print("operator of", pid, flush=True)
        else:
            print(event["type"], flush=True)
        return DoraStatus.CONTINUE
"""
KEPT = ("source", "host", "sink", "far")
OUTPUTS = ("relayed", "echoed")
FLOW = """
nodes:
  - {{id: source, path: source.py, inputs: {{tick: dora/timer/hz/20}}, outputs: [numbers, frames],
     deploy: {{machine: base}}}}
  - id: relay
    path: relay.py
    inputs: {{numbers: source/numbers, echo: host/it/echo}}
    outputs: [relayed, echoed]
    restart_policy: always
    deploy: {{machine: {machine}}}
  - id: twins
    path: twin.py
    inputs: {{numbers: {{source: source/numbers, queue_policy: backpressure}}}}
    outputs: [shared]
    deploy: {{machine: {machine}, replicas: 2}}
  - id: host
    deploy: {{machine: base}}
    operators:
      - {{id: it, python: operator.py, outputs: [echo],
         inputs: {{numbers: source/numbers, relayed: relay/relayed}}}}
  - id: sink
    path: sink.py
    inputs:
      numbers: {{source: source/numbers, queue_size: 1000}}
      frames: {{source: source/frames, queue_size: 100}}
      relayed: relay/relayed
      echoed: {{source: relay/echoed, queue_policy: backpressure}}
      shared: twins/shared
    deploy: {{machine: base}}
  - id: far
    path: sink.py
    inputs: {{relayed: relay/relayed, echoed: {{source: relay/echoed, link: direct}}}}
    deploy: {{machine: base}}
"""


def test_whoever_speaks_to_a_node_that_moves_keeps_its_process(
    embedded: Fleet, tmp_path: Path
) -> None:
    """From shared memory to the network and back, under load, into a runtime and out of it, past a
    router, and from replicas; what they send each other is complete. A rollback is a move, too. Of
    a death they hear on the new way."""
    scripts = {"source.py": SOURCE, "relay.py": RELAY, "sink.py": SINK, "operator.py": OPERATOR}
    scripts["twin.py"] = TWIN
    flow = write_flow(tmp_path / "wandering", scripts, FLOW.format(machine="base"))
    name = ("--name", "wandering")

    def said() -> list[tuple[str, str]]:
        done = embedded.dora("logs", "--tail", "100000", "--json")
        return [(row["node"], row["line"]) for row in map(json.loads, done.stdout.splitlines())]

    def all_hear_it() -> dict[str, int]:
        pids = embedded.pids()
        relay = next(pid for node, pid in pids.items() if node.startswith("relay@"))
        wanted = {(node, f"{it} of {relay}") for node in ("sink", "far") for it in OUTPUTS}
        wanted.add(("host", f"operator of {relay}"))
        twins = [pid for node, pid in pids.items() if node.startswith("twins.")]
        assert 2 == len(twins)
        wanted |= {("sink", f"shared of {twin}") for twin in twins}
        wait_until(lambda: wanted <= {*said()}, f"what {relay} and {twins} send to all")
        return {node: pid for node, pid in pids.items() if node.split("@")[0] in KEPT}

    assert "deployed" == embedded.deploy(flow, *name)["outcome"]
    before = all_hear_it()
    assert 4 == len(before)

    flow.write_text(FLOW.format(machine="rover"))
    plan = embedded.json("plan", flow, *name)
    assert {"relay", "twins.1", "twins.2", "dora-router"} == {
        it["unit"] for row in plan["machines"] for it in row["changes"] if it["action"] != "keep"
    }
    ways = {(it["from"], it["to"]): (it.get("was"), it["layer"]) for it in plan["edges"]}
    assert ("shm", "zenoh") == ways["relay/relayed", "sink/relayed"]
    assert (None, "shm") == ways["source/numbers", "sink/numbers"]
    assert "deployed" == embedded.deploy(flow, *name)["outcome"]
    assert before == all_hear_it()

    embedded.dora("rollback", "wandering")
    assert before == all_hear_it()

    assert "deployed" == embedded.deploy(flow, *name)["outcome"]
    assert before == all_hear_it()
    lines = [line for _, line in said()]
    assert {"at numbers", "at frames"} <= {*lines}
    assert [] == [line for line in lines if line.startswith(("gap", "INPUT", "NODE"))]

    pid = embedded.nodes()["relay"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ("sink", "NODE_RESTARTED relay") in said(), "the news at sink")
    wait_until(lambda: embedded.nodes()["relay"]["pid"] not in (pid, None), "relay to be back")
    assert before == all_hear_it()
