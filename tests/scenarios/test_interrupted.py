"""Deployments during which something dies: what is told is what is, and nobody is left alone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.scenarios.fleet import Fleet, processes_below, wait_until, write_flow

NODE = """
from dora import Node
node = Node()
print("VERSION", flush=True)
for event in node:
    pass
"""
SLOW = "import time\nprint('slow', flush=True)\ntime.sleep(1000)\n"
FLOW = """\
nodes:
  - {id: a, path: a.py, inputs: {t: dora/timer/millis/500}, deploy: {machine: base}}
  - {id: b, path: b.py, inputs: {t: dora/timer/millis/500}, deploy: {machine: rover}}
"""


def flow(folder: Path, version: str) -> Path:
    text = NODE.replace("VERSION", version)
    return write_flow(folder / "duo", {"a.py": text, "b.py": text}, FLOW)


def said(fleet: Fleet, machine: str, node: str) -> str:
    """The last line of a node's log, read on the disk."""
    root = fleet.home / f"data/dora/embedded/{machine}/.local/share/dora"
    log = root / "logs/duo" / f"{node}.log"
    return ["", *(log.read_text().splitlines() if log.exists() else ())][-1]


@contextmanager
def on_trial(fleet: Fleet, folder: Path, timeout: str) -> Iterator[Any]:
    """A deployment of which one node never becomes ready, once it was switched to."""
    slow = flow(folder, "two")
    (slow.parent / "a.py").write_text(SLOW)
    deploying = fleet.start("deploy", slow, "--detach", "--json", "--confirm-timeout", timeout)
    try:
        wait_until(lambda: said(fleet, "base", "a") == "slow", "the new generation starts")
        yield deploying
    finally:
        deploying.kill()
        deploying.wait()
        deploying.stdout.close()


def kill_supervisor(fleet: Fleet, machine: str) -> None:
    home = fleet.home / "data/dora/embedded" / machine
    for pid, line in processes_below(home).items():
        if " supervise" in line:
            os.kill(pid, signal.SIGKILL)


def test_a_supervisor_that_is_killed_while_a_generation_is_on_trial(
    embedded: Fleet, tmp_path: Path
) -> None:
    """The deployment starts another and tells it to go back: nobody would keep the time else."""
    embedded.deploy(flow(tmp_path, "one"))
    before = embedded.json("status")["machines"]["base"]["generations"]["duo"]

    with on_trial(embedded, tmp_path, "60") as deploying:
        kill_supervisor(embedded, "base")
        output, _ = deploying.communicate(timeout=200)

    assert 5 == deploying.returncode, output
    rows = {row["machine"]: row for row in json.loads(output[output.index("\n{\n") :])["machines"]}
    assert ["rolled_back"] * 2 == [rows[name]["outcome"] for name in ("base", "rover")]
    assert before == rows["base"]["generation"]
    wait_until(
        lambda: {"running"} == {row["state"] for row in embedded.nodes("duo").values()},
        "the old nodes run again",
    )
    assert ("one", "one") == (said(embedded, "base", "a"), said(embedded, "rover", "b"))
    assert "deployed" == embedded.deploy(flow(tmp_path, "three"))["outcome"]
