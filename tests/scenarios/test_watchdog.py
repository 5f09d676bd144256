"""`health_check_timeout`: a node that hangs comes back; one that waits, sends or finishes stays."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scenarios.fleet import Fleet, write_flow

HANG = """
import time
from dora import Node
node = Node()
print("restarts", node.restart_count())
node.next()
if not node.is_restart():
    time.sleep(1000)
node.send_output("n", b"back")
"""
WAIT = """
import time
from dora import Node
for event in Node():
    print(event["type"])
time.sleep(6)
print("finished")
"""
SEND = """
import time
from dora import Node
node = Node()
for number in range(12):
    node.send_output("n", b"x" * number)
    time.sleep(0.5)
print("sent")
"""
FLOW = """\
nodes:
  - {id: hang, path: hang.py, inputs: {t: dora/timer/millis/100}, outputs: [n],
     health_check_timeout: 4s, restart_policy: on-failure}
  - {id: wait, path: wait.py, inputs: {n: hang/n}, health_check_timeout: 4s}
  - {id: send, path: send.py, outputs: [n], health_check_timeout: 4s}
"""


def test_a_node_that_hangs_is_killed_and_comes_back(tmp_path: Path) -> None:
    """Its reader waits longer than its own time for the message, and then takes longer to finish;
    a source never asks for events, and sends: both are left alone."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text("machines: {here: {host: embedded}}\n")
    laptop = Fleet(tmp_path, inventory, cache=tmp_path / "cache")
    files = {"hang.py": HANG, "wait.py": WAIT, "send.py": SEND}
    flow = write_flow(tmp_path / "flow", files, FLOW)

    done = laptop.dora("run", flow, "--json")

    said: dict[str, list[str]] = {"hang": [], "wait": [], "send": []}
    for row in map(json.loads, done.stdout.splitlines()):
        said[row["node"]].append(row["line"])
    assert {
        "hang": ["restarts 0", "restarts 1"],
        "wait": ["NODE_RESTARTED", "INPUT", "INPUT_CLOSED", "STOP", "finished"],
        "send": ["sent"],
    } == said
