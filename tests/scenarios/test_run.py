"""`dora run`: a dataflow in the foreground, as dora's own command runs it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet, processes_below, wait_until, write_flow

SEND = """
import pyarrow as pa
from dora import Node
node = Node()
for i in range(5):
    node.send_output("n", pa.array([i]), {"i": i})
"""
PRINT = """
from dora import Node
for event in Node():
    what = event["value"].to_pylist() if event["type"] == "INPUT" else event["id"]
    print(event["type"], what)
"""
FOREVER = """
from dora import Node
for event in Node():
    print(event["type"], event["id"])
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from dora import Node
Node()
print("deaf")
while True:
    time.sleep(0.1)
"""
PAIR = """\
nodes:
  - {id: send, path: send.py, outputs: [n]}
  - {id: print, path: print.py, inputs: {n: send/n}}
"""
TICKING = "nodes:\n  - {id: tick, path: tick.py, inputs: {t: dora/timer/millis/50}}\n"


@pytest.fixture
def laptop(tmp_path: Path) -> Fleet:
    inventory = tmp_path / "machines.yml"
    inventory.write_text("machines: {here: {host: embedded}}\n")
    return Fleet(tmp_path, inventory, cache=tmp_path / "cache")


def test_a_finite_dataflow_ends_by_itself(laptop: Fleet, tmp_path: Path) -> None:
    """Everything arrives, in order, from the first message on; then the input closes."""
    flow = write_flow(tmp_path / "pair", {"send.py": SEND, "print.py": PRINT}, PAIR)

    done = laptop.dora("run", flow, "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [
        *(f"INPUT [{i}]" for i in range(5)),
        "INPUT_CLOSED n",
        "STOP ALL_INPUTS_CLOSED",
    ] == [row["line"] for row in rows if row["node"] == "print"]


def test_a_failing_node_makes_the_run_fail_and_is_named(laptop: Fleet, tmp_path: Path) -> None:
    """Its exit code and its last lines are shown; the other node still ends in order."""
    broken = "from dora import Node\nNode()\nprint('no camera')\nraise SystemExit(4)\n"
    flow = write_flow(tmp_path / "bad", {"send.py": broken, "print.py": PRINT}, PAIR)

    done = laptop.dora("run", flow, code=1)

    assert "node send exited with code 4" in done.stderr
    assert "no camera" in done.stderr
    assert "STOP ALL_INPUTS_CLOSED" in done.stdout


def test_it_stops_after_a_time(laptop: Fleet, tmp_path: Path) -> None:
    """Nodes get STOP, and leaving then is success."""
    flow = write_flow(tmp_path / "tick", {"tick.py": FOREVER}, TICKING)

    done = laptop.dora("run", flow, "--stop-after", "5s")

    assert "tick STOP MANUAL" in done.stdout.splitlines()


def test_ctrl_c_stops_and_a_second_one_kills(laptop: Fleet, tmp_path: Path) -> None:
    """A deaf node is asked first; a second Ctrl-C ends it at once, and the run has failed."""
    flow = write_flow(tmp_path / "deaf", {"tick.py": DEAF}, TICKING)
    run = laptop.start("run", flow)
    assert run.stdout is not None
    try:
        assert "tick deaf\n" == run.stdout.readline()
        run.send_signal(signal.SIGINT)
        with pytest.raises(AssertionError, match="not within"):
            wait_until(lambda: run.poll() is not None, "the deaf node to leave", timeout=1)
        run.send_signal(signal.SIGINT)
        assert 1 == run.wait(60)
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    wait_until(lambda: not processes_below(tmp_path / "deaf"), "the node to be gone")


def test_nodes_die_with_a_killed_run(laptop: Fleet, tmp_path: Path) -> None:
    """kill -9 of `dora run` leaves no node behind, not even a deaf one."""
    flow = write_flow(tmp_path / "deaf", {"tick.py": DEAF}, TICKING)
    run = laptop.start("run", flow)
    assert run.stdout is not None
    try:
        assert "tick deaf\n" == run.stdout.readline()
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    wait_until(lambda: not processes_below(tmp_path / "deaf"), "the node to be gone")


def test_a_flow_of_the_2022_design_runs(laptop: Fleet, tmp_path: Path) -> None:
    """`custom:` nodes with `run`, a working directory, and inputs without a node segment."""
    flow = write_flow(
        tmp_path / "old",
        {"send.py": SEND, "print.py": PRINT},
        """\
communication: {zenoh: {prefix: /example}}
nodes:
  - id: send
    custom: {run: python3 send.py, outputs: [n]}
  - id: print
    custom: {run: python3 print.py, inputs: {n: send/n}}
""",
    )

    done = laptop.dora("run", flow)

    assert "print INPUT [4]" in done.stdout.splitlines()
