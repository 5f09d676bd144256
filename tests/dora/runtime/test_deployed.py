"""Runtimes on machines: their closure, what `dora plan` and `dora status` show, STOP_ALL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet, wait_until, write_flow

FILTER = """
import threshold
from pathlib import Path
from dora import DoraStatus

class Operator:
    def on_event(self, dora_event, send_output):
        if Path("fail").exists():
            Path("fail").unlink()
            raise RuntimeError("as it was told")
        if dora_event["type"] == "INPUT" and dora_event["id"] == "quit":
            return DoraStatus.STOP_ALL
        send_output("n", threshold.VALUE)
        return DoraStatus.CONTINUE
"""
PASS_ON = """
from dora import DoraStatus

class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("n", dora_event["value"])
        return DoraStatus.CONTINUE
"""
TAKE = """
from pathlib import Path
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        print("got", bytes(event["value"].to_numpy()), flush=True)
        if Path("quit").exists():
            node.send_output("quit", b"")
    elif event["type"] == "STOP":
        print("told to stop", event["id"], flush=True)
"""
FLOW = """\
nodes:
  - id: rt
    scheduler: edf
    deploy: {machine: base}
    operators:
      - id: filter
        python: filter.py
        inputs: {t: {source: dora/timer/millis/50, queue_size: 1000}, quit: take/quit}
        outputs: [n]
        deadline: 5s
        restart_policy: on-failure
      - {id: pass, python: pass_on.py, inputs: {n: filter/n}, outputs: [n]}
  - id: take
    path: take.py
    inputs: {n: rt/pass/n}
    outputs: [quit]
    restart_policy: always
    deploy: {machine: rover}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    inventory = tmp_path / "machines.yml"
    inventory.write_text("machines:\n  base: {host: embedded}\n  rover: {host: embedded}\n")
    fleet = Fleet(tmp_path, inventory, cache=tmp_path / "cache")
    yield fleet
    fleet.dora("stop", "flow")
    fleet.assert_nothing_is_left()


def test_a_runtime_on_machines(fleet: Fleet) -> None:
    """Modules travel, edges inside pass in memory, operators are counted one by one; one of them
    ends the dataflow on all machines, whatever restart policies say, and a deployment of the same
    files leaves it so."""
    scripts = {"filter.py": FILTER, "pass_on.py": PASS_ON, "take.py": TAKE}
    flow = write_flow(fleet.home / "flow", {**scripts, "threshold.py": "VALUE = b'7'\n"}, FLOW)
    planned = fleet.json("plan", flow)
    assert {
        "rt/filter/n": "memory",
        "rt/pass/n": "zenoh",
        "take/quit": "zenoh",
    } == {edge["from"]: edge["layer"] for edge in planned["edges"]}

    assert "deployed" == fleet.deploy(flow)["outcome"]
    wait_until(lambda: "got b'7'" in fleet.lines("take"), "a message through both operators")
    state = fleet.home / "data/dora/embedded/base/.local/share/dora/state/flow/rt"
    (state / "fail").touch()

    def counted() -> bool:
        row = fleet.nodes()["rt"]
        operators = row["operators"] or {}
        return (
            {"running": 2} == row["operator_states"]
            and operators["filter"]["restarts"] == 1
            and operators["pass"]["runs"] > 1
        )

    wait_until(counted, "the operators' counts")
    row = fleet.nodes()["rt"]
    assert ("running", 0) == (row["state"], row["restarts"])
    filter = row["operators"]["filter"]
    assert ("running", 0, 0) == (filter["state"], filter["misses"], filter["dropped"])
    assert filter["run_time"] > 0
    assert any("operator filter failed" in line for line in fleet.lines("rt"))

    # one of the files above is read on the other machine
    (fleet.home / "data/dora/embedded/rover/.local/share/dora/state/flow/take/quit").touch()
    wait_until(
        lambda: {"ended"} == {row["state"] for row in fleet.nodes().values()}, "the end of all"
    )
    assert "told to stop MANUAL" == fleet.lines("take")[-1]
    assert "unchanged" == fleet.deploy(flow)["outcome"]
    assert {"ended"} == {row["state"] for row in fleet.nodes().values()}
