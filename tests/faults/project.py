"""What the fault table runs: on each robot a node that talks and one that hears all of them.

Both write what they did onto tapes in /var/tmp of their robot, which no fault takes away: a line of
JSON for each message that was sent or that came, and for each event, by the one monotonic clock
that all robots of the bench share.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.scenarios.fleet import write_flow

NAME = "faults"
TAPES = "/var/tmp"
SILENCE = 3.0  # seconds: `input_timeout` of what may be lost
CACHE = 20_000  # messages: more than are sent within the longest fault
QUEUE = 2_000
BULK = 200_000  # bytes, five times a second, from robot 1 to the others: the load of the links

TALK = """
import json, os, time
from dora import Node
node = Node()
run = time.monotonic_ns()
tape = open(f"{os.environ['TAPES']}/{os.environ['ME']}", "a", buffering=1)
bulk = bytes(int(os.environ["BULK"]))
n = 0
for event in node:
    if event["type"] != "INPUT":
        continue
    tape.write(json.dumps([time.monotonic(), run, n]) + "\\n")
    for output in ("drop", "reliable", "direct"):
        node.send_output(output, b"x", {"run": run, "n": n})
    if bulk and n % 5 == 0:
        node.send_output("bulk", bulk)
    if n % 5 == 0:
        print("said", n, "." * 500, flush=True)
    n += 1
"""
HEAR = """
import json, os, time
from dora import Node
node = Node()
tape = open(f"{os.environ['TAPES']}/{os.environ['ME']}", "a", buffering=1)
def note(*row):
    tape.write(json.dumps([time.monotonic(), *row]) + "\\n")
note("START", None)
for event in node:
    if event["type"] != "INPUT":
        note(event["type"], event.get("id"))
    elif event["id"] != "bulk":
        note("INPUT", event["id"], event["metadata"]["run"], event["metadata"]["n"])
"""


def write(folder: Path, robots: Iterable[int], hz: float) -> Path:
    """The flow file; machines are named as robots are."""
    robots = list(robots)
    nodes = "".join(_talk(i, hz) + _hear(i, robots) for i in robots)
    return write_flow(folder / NAME, {"talk.py": TALK, "hear.py": HEAR}, f"nodes:\n{nodes}")


def _talk(i: int, hz: float) -> str:
    bulk = BULK if i == 1 else 0
    outputs = "[drop, reliable, direct, bulk]" if bulk else "[drop, reliable, direct]"
    kept = f"{{delivery: reliable, cache: {CACHE}}}"
    qos = f"reliable: {kept}, direct: {kept}"
    if bulk:
        qos += ", bulk: {priority: bulk}"
    return f"""\
  - id: talk-{i}
    path: talk.py
    env: {{ME: talk-{i}, TAPES: {TAPES}, BULK: {bulk}}}
    inputs: {{tick: dora/timer/hz/{hz:g}}}
    outputs: {outputs}
    output_qos: {{{qos}}}
    restart_policy: on-failure
    deploy: {{machine: robot{i}}}
"""


def _hear(i: int, robots: Iterable[int]) -> str:
    drop = f"queue_size: {QUEUE}, input_timeout: {SILENCE:g}s"
    rows = [f"      drop-{k}: {{source: talk-{k}/drop, {drop}}}\n" for k in robots]
    rows += [f"      reliable-{k}: talk-{k}/reliable\n" for k in robots]
    rows += [f"      direct-{k}: {{source: talk-{k}/direct, link: direct}}\n" for k in robots]
    if i != 1:
        rows.append("      bulk: {source: talk-1/bulk, queue_size: 1}\n")
    return f"""\
  - id: hear-{i}
    path: hear.py
    env: {{ME: hear-{i}, TAPES: {TAPES}}}
    restart_policy: on-failure
    deploy: {{machine: robot{i}}}
    inputs:
{"".join(rows)}"""
