"""Dataflows with operators on this machine, through the real `dora run`: for tests."""

from __future__ import annotations

import json
import subprocess
from subprocess import CompletedProcess

from tests.scenarios.fleet import Fleet, write_flow

COUNT = """
import pyarrow as pa
from dora import Node
node = Node()
for i in range(20):
    node.send_output("n", pa.array([i]), {"i": i})
"""
SHOW = """
from dora import Node
for event in Node():
    what = event["value"].to_pylist() if event["type"] == "INPUT" else event["id"]
    print(event["type"], event["id"], what)
"""
PASS_ON = r"""
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        print(f'{dora_event["type"]} {dora_event["id"]}\n', end="")  # at once: threads share stdout
        if dora_event["type"] == "INPUT":
            send_output("n", dora_event["value"], dora_event["metadata"])
        return DoraStatus.CONTINUE
    def __del__(self):
        print("dropped")
"""


def ran(
    laptop: Fleet, files: dict[str, str], flow: str, *options: str, code: int = 0
) -> tuple[dict[str, list[str]], CompletedProcess[str]]:
    """What each node printed, line by line."""
    for name in files:
        (laptop.home / "flow" / name).parent.mkdir(parents=True, exist_ok=True)
    path = write_flow(laptop.home / "flow", files, flow)
    done = subprocess.run(
        laptop.command("run", path, "--json", *options),
        env=laptop.env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert code == done.returncode, f"{done.stdout}\n{done.stderr}"
    lines: dict[str, list[str]] = {}
    for row in map(json.loads, done.stdout.splitlines()):
        lines.setdefault(row["node"], []).append(row["line"])
    return lines, done
