"""Dataflows with operators on this machine, through the real `dora run`: for tests."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from subprocess import CompletedProcess

from tests.scenarios.fleet import Fleet, write_flow

PATIENCE = 100.0  # seconds until a dataflow that does not end is killed

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
    laptop: Fleet,
    files: dict[str, str],
    flow: str,
    *options: str,
    code: int = 0,
    until: tuple[str, ...] = (),
) -> tuple[dict[str, list[str]], CompletedProcess[str]]:
    """What each node printed, line by line. `until`: the dataflow is asked to stop as soon as each
    of these is in some line; else it ends by itself."""
    for name in files:
        (laptop.home / "flow" / name).parent.mkdir(parents=True, exist_ok=True)
    path = write_flow(laptop.home / "flow", files, flow)
    done = _run(laptop, laptop.command("run", path, "--json", *options), until)
    assert code == done.returncode, f"{done.stdout}\n{done.stderr}"
    lines: dict[str, list[str]] = {}
    for row in map(json.loads, done.stdout.splitlines()):
        lines.setdefault(row["node"], []).append(row["line"])
    return lines, done


def ran_example(laptop: Fleet, flow: Path, *, until: tuple[str, ...]) -> str:
    """What it printed until it was asked to stop, which it did well."""
    done = _run(laptop, laptop.command("run", flow), until)
    assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _run(laptop: Fleet, argv: list[str], until: tuple[str, ...]) -> CompletedProcess[str]:
    said: list[str] = []
    missing = set(until)
    with (
        (laptop.home / "stderr").open("w") as errors,
        subprocess.Popen(
            argv, env=laptop.env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                found = {text for text in missing if text in line}
                missing -= found
                if found and not missing:
                    process.terminate()
        finally:
            limit.cancel()
            process.kill()
    return CompletedProcess(
        argv, process.returncode, "".join(said), (laptop.home / "stderr").read_text()
    )
