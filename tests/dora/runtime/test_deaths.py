"""What operators hear of nodes that die, and of edges that fall silent: real runtimes."""

from __future__ import annotations

from tests.dora.runtime.flows import ran
from tests.scenarios.fleet import Fleet

DIES = """
import os, time
from dora import Node
node = Node()
for output in ("a", "b"):
    node.send_output(output, b"x")
time.sleep(0.3)
if node.restart_count() < 1:
    os.kill(os.getpid(), 9)
raise ValueError("no map")
"""
TELL = """
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "NODE_FAILED":
            value = dora_event["value"]
            print("NODE_FAILED", dora_event["id"], value["error"], value["affected_input_ids"])
        else:
            print(dora_event["type"], dora_event["id"])
        return DoraStatus.CONTINUE
"""
SOMETIMES = """
from dora import DoraStatus
class Operator:
    begun = False
    def on_event(self, dora_event, send_output):
        if dora_event["id"] == "quiet":
            send_output("n", b"x")
        elif not self.begun:
            self.begun = True
            send_output("n", b"x")
            send_output("n", b"x")
        return DoraStatus.CONTINUE
"""
LISTENS = """
from dora import DoraStatus
class Operator:
    inputs = 0
    def on_event(self, dora_event, send_output):
        print(dora_event["type"], dora_event["id"])
        if dora_event["type"] == "INPUT":
            self.inputs += 1
        elif dora_event["type"] == "INPUT_CLOSED" and self.inputs == 2:
            send_output("quiet", b"")
        elif dora_event["type"] == "INPUT_CLOSED" and self.inputs == 3:
            return DoraStatus.STOP_ALL
        return DoraStatus.CONTINUE
"""


def test_operators_hear_of_the_deaths_of_nodes(laptop: Fleet) -> None:
    """Each once, with its own inputs; a restart first, then the end, when no more are allowed."""
    lines, _ = ran(
        laptop,
        {"dies.py": DIES, "tell.py": TELL},
        """\
nodes:
  - {id: dies, path: dies.py, outputs: [a, b], inputs: {t: dora/timer/secs/60},
     restart_policy: on-failure, max_restarts: 1}
  - id: one
    operators:
      - {id: both, python: tell.py, inputs: {x: dies/a, y: dies/b}}
  - id: two
    operators:
      - {id: only, python: tell.py, inputs: {z: dies/b}}
""",
        code=1,
    )

    deaths = {
        node: [line for line in lines[node] if line.startswith("NODE_")] for node in ("one", "two")
    }
    failed = "NODE_FAILED dies ValueError: no map"
    assert ["NODE_RESTARTED dies", f"{failed} ['x', 'y']"] == deaths["one"]
    assert ["NODE_RESTARTED dies", f"{failed} ['z']"] == deaths["two"]
    assert "INPUT_CLOSED z" == lines["two"][-1]


def test_an_edge_within_a_runtime_has_its_timeout(laptop: Fleet) -> None:
    """As one between nodes: closed after silence, recovered with the next message."""
    lines, _ = ran(
        laptop,
        {"sometimes.py": SOMETIMES, "listens.py": LISTENS},
        """\
nodes:
  - id: rt
    operators:
      - id: some
        python: sometimes.py
        inputs: {t: dora/timer/millis/200, quiet: listens/quiet}
        outputs: [n]
      - id: listens
        python: listens.py
        inputs: {m: {source: rt/some/n, input_timeout: 700ms}}
        outputs: [quiet]
""",
    )

    heard = [line for line in lines["rt"] if line.startswith("INPUT")]
    once = ["INPUT m", "INPUT m", "INPUT_CLOSED m"]
    assert [*once, "INPUT_RECOVERED m", "INPUT m", "INPUT_CLOSED m"] == heard[-6:]
