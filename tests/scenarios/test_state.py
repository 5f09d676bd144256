"""What operators and nodes keep on their machine, through kill -9 and new deployments."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow

# Each line in one piece: it may be killed between two.
COUNTER = """
import sys
import pyarrow as pa
from dora import DoraStatus

class Operator:
    count = 0

    def restore_state(self, state):
        self.count = int(state["count"])
        sys.stdout.write(f"restored {self.count}\\n")

    def on_event(self, event, send_output):
        if event["type"] == "INPUT":
            self.count += STEP
            self.save_state("count", str(self.count).encode())
            self.kvs_write("latest", str(self.count).encode())
            sys.stdout.write(f"saved {self.count}\\n")
            send_output("count", pa.array([self.count]))
        return DoraStatus.CONTINUE
"""
SINK = """
import sys
from dora import Node

node = Node()
for event in node:
    if event["type"] == "INPUT":
        shared = node.kvs_read("latest").decode()
        sys.stdout.write(f"got {event['value'][0]} {shared}\\n")
"""
FLOW = """
nodes:
  - id: runtime
    restart_policy: always
    deploy: {machine: base}
    operators:
      - id: counter
        python: counter.py
        inputs: {tick: dora/timer/millis/50}
        outputs: [count]
  - id: sink
    path: sink.py
    deploy: {machine: base}
    inputs: {count: runtime/counter/count}
"""


def flow(folder: Path, step: int = 1) -> Path:
    scripts = {"counter.py": COUNTER.replace("STEP", str(step)), "sink.py": SINK}
    return write_flow(folder / "kept", scripts, FLOW)


def test_state_outlives_kill_9_and_deployments(embedded: Fleet, tmp_path: Path) -> None:
    """After each kill -9 of the runtime the operator goes on from the last number that it saved;
    after a new deployment and a stop, too. `dora state` shows and clears it."""
    embedded.deploy(flow(tmp_path))
    for round_ in range(1, 5):
        wait_until(lambda: len(_numbers(embedded, "got")) > 5, "numbers of the counter")
        os.kill(embedded.nodes()["runtime"]["pid"], signal.SIGKILL)
        wait_until(
            lambda: len(_numbers(embedded, "restored")) == round_,  # noqa: B023
            "the operator to get its state back",
        )
    _assert_unbroken(embedded)

    embedded.deploy(flow(tmp_path, step=1000))
    wait_until(lambda: _numbers(embedded, "saved")[-1] > 1000, "the new code")
    assert 4 == len(_numbers(embedded, "restored"))  # the new code takes over what runs
    _assert_unbroken(embedded, 1, 1000)

    # What nodes read of the shared keys is never older than what reached them by message.
    rows = [line.split()[1:] for line in _lines(embedded, "got")]
    assert all(int(shared) >= int(count) for count, shared in rows)

    embedded.dora("stop", "kept")
    last = str(_numbers(embedded, "saved")[-1])
    listed = embedded.json("state", "list", "kept")["machines"]
    assert [] == listed["rover"]["entries"]
    assert [("", "latest"), ("runtime/counter", "count")] == [
        (it["owner"], it["key"]) for it in listed["base"]["entries"]
    ]
    kept = embedded.dora("state", "get", "kept", "runtime/counter", "count").stdout
    assert int(last) <= int(kept)
    assert kept == embedded.dora("state", "get", "kept", "shared", "latest").stdout

    failed = embedded.dora("state", "get", "kept", "runtime/counter", "nothing", code=1)
    assert "nothing is kept under 'nothing'" in failed.stderr
    embedded.dora("state", "clear", "kept", "runtime", "--yes")
    left = embedded.json("state", "list", "kept")["machines"]["base"]["entries"]
    assert ["latest"] == [it["key"] for it in left]
    embedded.dora("state", "clear", "kept", "--yes")
    assert [] == embedded.json("state", "list", "kept")["machines"]["base"]["entries"]


def _lines(fleet: Fleet, *words: str) -> list[str]:
    """What both have printed, read on the machine's disk."""
    logs = fleet.home / "data/dora/embedded/base/.local/share/dora/logs/kept"
    lines = [line for log in logs.glob("*.log") for line in log.read_text().splitlines()]
    return [line for line in lines if re.fullmatch(rf"({'|'.join(words)}) \d+( \d+)?", line)]


def _numbers(fleet: Fleet, word: str) -> list[int]:
    """What the operator or the sink said behind `word`."""
    return [int(line.split()[1]) for line in _lines(fleet, word)]


def _assert_unbroken(fleet: Fleet, *steps: int) -> None:
    """Every number follows the one before: what was saved is neither lost nor old. (A process may
    be killed after it saved a number and before it said so.)"""
    lines = _lines(fleet, "saved", "restored")
    last = 0
    for line in lines:
        word, number = line.split()[0], int(line.split()[1])
        step = number - last
        assert step in ({0, *(steps or (1,))} if word == "restored" else {*(steps or (1,))}), lines
        last = number
