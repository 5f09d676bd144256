"""A node that keeps failing where it is: tried elsewhere, once each."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow
from tests.scenarios.staying import Coordinator

FICKLE = """
import os, pathlib, sys
from dora import Node
machine = os.getcwd().split("/embedded/")[1].split("/")[0]
for event in Node():
    if machine in pathlib.Path(os.environ["BROKEN"]).read_text().split():
        sys.exit(f"broken on {machine}")
"""
STEADY = """
from dora import Node
for event in Node():
    pass
"""
FLOW = """
nodes:
  - id: fickle
    path: fickle.py
    env: {{BROKEN: {broken}}}
    inputs: {{tick: dora/timer/millis/50}}
    deploy: {{on_machine_loss: move}}
  - {{id: here, path: steady.py, deploy: {{machine: base}}}}
  - {{id: there, path: steady.py, deploy: {{machine: rover}}}}
"""


def test_a_node_that_fails_is_tried_on_each_machine_once(embedded: Fleet, tmp_path: Path) -> None:
    """Others keep their processes; at last it stays failed, with all reasons told. A second
    coordinator moves nothing."""
    broken = tmp_path / "broken"
    broken.write_text("")
    scripts = {"fickle.py": FICKLE, "steady.py": STEADY}
    flow = write_flow(tmp_path / "flow", scripts, FLOW.format(broken=broken))
    flow = flow.rename(flow.with_name("failing.yml"))
    assert "none keeps failing now" in embedded.dora("plan", flow).stdout
    coordinator = Coordinator(embedded, flow)
    other = None

    def fickle_runs() -> str:
        row = embedded.nodes().get("fickle", {})
        return str(row["machine"]) if row.get("state") == "running" else ""

    try:
        wait_until(fickle_runs, "it runs")
        before, first = embedded.pids(), fickle_runs()
        other = Coordinator(embedded, flow)
        wait_until(lambda: other.says("nothing is moved from here"), "that it is not alone")
        other.end()

        broken.write_text(first)
        wait_until(lambda: fickle_runs() not in ("", first), "it runs elsewhere")
        row = embedded.nodes()["fickle"]
        second = row["machine"]
        assert f"from {first}: exited with code 1" == row["moved"]
        wait_until(lambda: coordinator.says("moved fickle"), "that it has moved it")
        assert 1 == sum("moved fickle" in line for line in coordinator.said)
        note = embedded.json("generations", "failing")["revisions"][0]["note"]
        assert note.startswith(f"moved fickle {first} -> {second}; fickle keeps failing on {first}")

        broken.write_text(f"{first} {second}")
        told = f"fickle stays on {second} (exited with code 1): no other machine will do"
        wait_until(lambda: coordinator.says(told), "that it has failed everywhere")
        assert coordinator.says(f"not {first} (exited with code 1)")
        assert "failed" == embedded.nodes()["fickle"]["state"]
        kept = ("here@base", "there@rover")
        assert {it: before[it] for it in kept} == {it: embedded.pids()[it] for it in kept}
        assert "none keeps" not in embedded.dora("plan", flow).stdout
    finally:
        coordinator.end(signal.SIGKILL)
        if other is not None:
            other.end(signal.SIGKILL)
