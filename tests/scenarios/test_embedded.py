"""The quickstart on one laptop: two embedded machines, the whole way over SSH."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from tests.scenarios.fleet import (
    Fleet,
    alive,
    processes_below,
    wait_until,
    write_flow,
)

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "flow.yml"
NODES = {"base-vitals", "rover-vitals", "fuse", "show"}
BOTH = re.compile(r"base: load .* rover: load ")


def test_deploy_status_logs_again_and_stop(embedded: Fleet) -> None:
    """The story that the README tells, up to the end: nothing is left behind."""
    first = embedded.deploy(QUICKSTART)
    assert "deployed" == first["outcome"]

    nodes = embedded.nodes()
    assert nodes.keys() == NODES
    assert {"running"} == {row["state"] for row in nodes.values()}
    assert "base" == nodes["base-vitals"]["machine"]
    assert "rover" == nodes["rover-vitals"]["machine"]
    assert all(alive(row["pid"]) and row["cores"] for row in nodes.values())

    # Nobody of ours runs any more, and data crosses from machine to machine.
    wait_until(lambda: any(map(BOTH.match, embedded.lines("show"))), "both machines' vitals")
    before = len(embedded.lines("show"))
    wait_until(lambda: len(embedded.lines("show")) > before + 2, "more lines")

    def counted() -> bool:
        rows = embedded.nodes()
        return bool(rows["show"]["received"] and rows["base-vitals"]["sent"])

    wait_until(counted, "what goes through the nodes")
    nodes = embedded.nodes()
    assert all(row["dropped"] is not None for row in nodes.values())
    rows = embedded.json("top", "quickstart", "--once", "--interval", "3")["rows"]
    assert {row["node"]: row for row in rows}["base-vitals"]["sent"] > 0
    assert all(2**20 < row["rss"] <= row["memory_peak"] for row in nodes.values())
    output = embedded.dora("logs", "--json", "--since", "1h", "--machine", "base").stdout
    lines = [json.loads(line) for line in output.splitlines()]
    assert [it["time"] for it in lines] == sorted(it["time"] for it in lines)
    assert {"show"} <= {it["node"] for it in lines if it["machine"] == "base"}

    pids = embedded.pids()
    again = embedded.deploy(QUICKSTART)
    assert ("unchanged", False) == (again["outcome"], again["changed"])
    assert pids == embedded.pids()

    plot = embedded.home / "data/dora/embedded/base/.local/share/dora/state/quickstart/show"
    wait_until(lambda: (plot / "plot.png").exists(), "a plot")
    assert b"\x89PNG" == (plot / "plot.png").read_bytes()[:4]

    embedded.dora("stop", "quickstart")
    assert [pid for pid in pids.values() if alive(pid)] == []
    embedded.assert_nothing_is_left()
    assert embedded.json("status")["nodes"] == []


COUNT = """
import sys, time
from dora import Node
node = Node()
count = 0
for event in node:
    if event["type"] == "INPUT":
        count += 1
        node.send_output("count", bytes([count % 256]), {"n": count})
        print("VERSION", count, flush=True)
"""
PRINT = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        print("got", event["metadata"]["n"], flush=True)
"""
FLOW = """\
nodes:
  - id: count
    path: count.py
    inputs: {tick: dora/timer/millis/100}
    outputs: [count]
    restart_policy: on-failure
    deploy: {machine: base}
  - id: print
    path: print.py
    inputs: {count: count/count}
    restart_policy: on-failure
    deploy: {machine: rover}
"""


def counter(folder: Path, version: str = "one") -> Path:
    scripts = {"count.py": COUNT.replace("VERSION", version), "print.py": PRINT}
    return write_flow(folder / "counter", scripts, FLOW)


def test_only_the_changed_node_restarts(embedded: Fleet, tmp_path: Path) -> None:
    """Promise 5: an unchanged unit keeps its process through a deploy."""
    embedded.deploy(counter(tmp_path))
    before = embedded.pids()

    flow = counter(tmp_path, "two")
    plan = embedded.json("plan", flow)
    assert {"base": [("count", ["count.py changed"])], "rover": []} == {
        row["machine"]: [
            (change["unit"], change["reasons"])
            for change in row["changes"]
            if change["action"] != "keep"
        ]
        for row in plan["machines"]
    }
    embedded.deploy(flow)

    after = embedded.pids()
    assert {"count@base"} == {name for name in before if before[name] != after[name]}
    wait_until(lambda: any(it.startswith("two") for it in embedded.lines("count")), "new code")


def test_a_killed_node_a_killed_router_and_a_killed_supervisor(
    embedded: Fleet, tmp_path: Path
) -> None:
    """Promise 2: kill -9 of any process, and data flows again without help."""
    embedded.deploy(counter(tmp_path))

    def flows() -> None:
        seen = len(embedded.lines("print"))
        wait_until(lambda: len(embedded.lines("print")) > seen + 3, "data flows")

    flows()
    for victim in ("count@base", "dora-router@rover", "dora-router@base"):
        before = embedded.pids()
        os.kill(before[victim], signal.SIGKILL)
        wait_until(lambda: embedded.pids()[victim] not in (None, before[victim]), victim)  # noqa: B023
        others = {name: pid for name, pid in embedded.pids().items() if name != victim}
        assert {name: pid for name, pid in before.items() if name != victim} == others
        flows()

    before = embedded.pids()
    supervisors = [
        pid for pid, line in processes_below(embedded.home).items() if " supervise" in line
    ]
    assert 2 == len(supervisors)
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    flows()
    assert before == embedded.pids()


def test_an_unhealthy_generation_goes_back(embedded: Fleet, tmp_path: Path) -> None:
    """Promise 4: exit code 5, JSON says so, and the old code runs again."""
    embedded.deploy(counter(tmp_path))
    flow = counter(tmp_path, "two")
    (flow.parent / "count.py").write_text("raise SystemExit('no camera')\n")
    flow.write_text(FLOW.replace("restart_policy: on-failure", "restart_policy: never"))

    result = embedded.deploy(flow, code=5)

    assert "rolled_back" == result["outcome"]
    rows = {row["machine"]: row for row in result["machines"]}
    assert {"count": "exited with code 1"} == rows["base"]["unhealthy"]
    seen = len(embedded.lines("print"))
    wait_until(lambda: len(embedded.lines("print")) > seen + 3, "the old code counts on")
    assert {"running"} == {row["state"] for row in embedded.nodes().values()}


def test_a_first_deployment_that_fails_leaves_nothing_running(
    embedded: Fleet, tmp_path: Path
) -> None:
    """There is nothing to go back to, and nothing runs."""
    flow = write_flow(
        tmp_path / "bad",
        {"a.py": "raise SystemExit(3)\n"},
        "nodes:\n  - {id: a, path: a.py, outputs: [x]}\n",
    )

    result = embedded.deploy(flow, code=5)

    assert "rolled_back" == result["outcome"]
    assert embedded.json("status")["nodes"] == []
    embedded.assert_nothing_is_left()


def test_a_machine_that_does_not_answer_stops_nobody(embedded: Fleet, tmp_path: Path) -> None:
    """The others are deployed; the error names cause and next step; exit code 4."""
    text = embedded.inventory.read_text()
    embedded.inventory.write_text(text + "  away: {host: 127.0.0.1, port: 1}\n")

    result = embedded.deploy(counter(tmp_path), code=4)

    assert "partly_unreachable" == result["outcome"]
    away = next(row for row in result["machines"] if row["machine"] == "away")
    assert "nothing listens on port 1" in away["error"]
    assert away["hint"]
    assert {"running"} == {row["state"] for row in embedded.nodes(code=4).values()}


def test_when_no_machine_answers_nothing_else_is_claimed(embedded: Fleet, tmp_path: Path) -> None:
    """Exit code 4 for every command, with the cause, and no word on what runs there."""
    embedded.inventory.write_text("machines:\n  away: {host: 127.0.0.1, port: 1}\n")

    known = {"status": "away: unknown; it has never answered this laptop\n"}
    others = [["logs"], ["stop"], ["generations"], ["rollback"], ["scale", "count=2"]]
    for command in (["status"], *([*words, "counter"] for words in others)):
        done = embedded.dora(*command, code=4)
        assert "nothing listens on port 1" in done.stderr
        assert known.get(command[0], "") == done.stdout
