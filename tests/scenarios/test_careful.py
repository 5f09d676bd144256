"""Deploying with care: nodes that must not be disturbed, batches, saved plans, looking twice."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow

PLAIN = """
from dora import Node
print("VERSION", flush=True)
for event in Node():
    pass
"""
MOVING = """
import pathlib
from dora import Node
node = Node()
hold = node.hold_updates("driving to the dock")
print("VERSION drives", flush=True)
for event in node:
    if pathlib.Path(FILE).exists():
        hold.release()
"""
FLOW = """\
nodes:
  - {id: a, path: a.py, inputs: {t: dora/timer/millis/100}, deploy: {machine: base}}
  - {id: b, path: b.py, inputs: {t: dora/timer/millis/100}, deploy: {machine: rover}}
"""


def flow(folder: Path, version: str, *, a: str = PLAIN, b: str = PLAIN) -> Path:
    there = repr(str(folder / "arrived"))
    scripts = {
        name: text.replace("VERSION", version).replace("FILE", there)
        for name, text in (("a.py", a), ("b.py", b))
    }
    return write_flow(folder / "careful", scripts, FLOW)


def outcomes(fleet: Fleet, flow: Path, *options: str, code: int) -> dict[str, str]:
    result = fleet.deploy(flow, "--window", "0.2", *options, code=code)
    return {row["machine"]: row["outcome"] for row in result["machines"]}


def test_a_node_that_must_not_be_disturbed_is_waited_for(embedded: Fleet, tmp_path: Path) -> None:
    """Nothing is switched, stopped or restarted anywhere; then it lets go, and all goes on."""
    outcomes(embedded, flow(tmp_path, "one", b=MOVING), code=0)
    wait_until(lambda: "one drives" in embedded.lines("b"), "the hold")
    before = embedded.pids()

    arguments = ("deploy", flow(tmp_path, "two", b=MOVING), "--detach", "--window", "0.2")
    waiting = embedded.start(*arguments, "--wait", "150")
    try:
        assert waiting.stdout is not None
        said = next(line for line in waiting.stdout if "waits" in line)
        assert "rover: waits: updates are held up by b of careful since" in said
        (hold,) = embedded.json("status")["machines"]["rover"]["holds"]
        assert ("b", "driving to the dock") == (hold["unit"], hold["reason"])
        assert before == embedded.pids()
    finally:
        (tmp_path / "arrived").touch()
        output, _ = waiting.communicate(timeout=200)
    assert 0 == waiting.returncode, output
    after = embedded.pids()
    assert {"a@base", "b@rover"} == {name for name in before if before[name] != after[name]}


def test_a_paused_machine_and_a_batch_that_fails(embedded: Fleet, tmp_path: Path) -> None:
    """Both leave the rest of the fleet as it was, and say so."""
    outcomes(embedded, flow(tmp_path, "one"), code=0)
    embedded.dora("machines", "pause", "rover", "--reason", "on a ladder")
    try:
        two = flow(tmp_path, "two")
        assert {"base": "skipped", "rover": "held"} == outcomes(embedded, two, code=6)
        refused = embedded.dora("stop", "careful", code=6).stderr
        assert "on a ladder" in refused
        assert "--force" in refused
    finally:
        resumed = embedded.json("machines", "resume", "*")["machines"]
    assert (None, "on a ladder") == (resumed["base"], resumed["rover"]["reason"])

    bad = flow(tmp_path, "three", a="raise SystemExit('no camera')")
    found = outcomes(embedded, bad, "--serial", "1", code=5)
    assert {"base": "rolled_back", "rover": "skipped"} == found
    assert "one" == embedded.lines("b")[-1]


def test_a_saved_plan_is_done_as_it_was_shown_or_not_at_all(
    embedded: Fleet, tmp_path: Path
) -> None:
    """Made before anything was deployed, with keys that are made anew; then overtaken."""
    one, plan = flow(tmp_path, "one"), tmp_path / "plan.json"
    shown = embedded.json("plan", one, "--out", plan)
    needs = {row["machine"]: row["needs"] for row in shown["machines"]}
    assert needs["base"]["disk"] <= needs["base"]["disk_free"]

    (one.parent / "b.py").write_text(PLAIN.replace("VERSION", "other"))
    assert "b: b.py changed" in embedded.dora("deploy", plan, "--detach", code=6).stderr
    flow(tmp_path, "one")
    assert "deployed" == embedded.deploy(plan, "--window", "0.2")["outcome"]
    overtaken = embedded.dora("deploy", plan, "--detach", code=6).stderr
    assert "base runs generation" in overtaken

    flow(tmp_path, "two")
    differs = embedded.json("diff", "current", one)
    assert {"base": ["a.py changed"], "rover": ["b.py changed"]} == {
        row["machine"]: [why for it in row["units"] for why in it["reasons"]]
        for row in differs["machines"]
    }
    data = json.loads(plan.read_text())
    data["machines"]["base"]["generation"] = "1; reboot"
    plan.write_text(json.dumps(data))
    assert "must be a number" in embedded.dora("deploy", plan, "--detach", code=3).stderr
