"""Seeing what is going on, as a user with two embedded machines does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.scenarios.fleet import Fleet, wait_until, write_flow

COUNT = """
from dora import Node
node = Node()
for n, event in enumerate(node):
    if event["type"] == "INPUT":
        node.send_output("count", bytes([n % 256]))
"""
PRINT = """
from dora import Node
for event in Node():
    pass
"""
FLOW = """\
nodes:
  - id: count
    path: count.py
    inputs: {tick: dora/timer/millis/50}
    outputs: [count]
    restart_policy: on-failure
    restart_delay: 600
    deploy: {machine: base}
  - id: print
    path: print.py
    inputs: {count: {source: count/count, queue_size: 3}}
    deploy: {machine: rover}
"""


def why(fleet: Fleet, cause: str) -> Any:
    """What `dora why` says, once it says what is expected: counts come about once a second."""
    found: dict[str, Any] = {}

    def said() -> bool:
        command = fleet.command("why", "print/count", "--seconds", "1.5", "--json")
        done = subprocess.run(command, env=fleet.env, capture_output=True, text=True, check=False)
        found.clear()
        found.update(json.loads(done.stdout))
        assert found["flows"] is (done.returncode == 0), done
        return bool(found["cause"] == cause)

    wait_until(said, cause)
    return found


def test_why_no_data_comes(embedded: Fleet, tmp_path: Path) -> None:
    """It does; then the producer is stopped; then it dies and waits for its next start."""
    embedded.deploy(write_flow(tmp_path / "pair", {"count.py": COUNT, "print.py": PRINT}, FLOW))

    found = why(embedded, "none")
    assert ("zenoh", 3, "drop_oldest") == tuple(
        found[name] for name in ("layer", "queue_size", "queue_policy")
    )
    (topic,) = embedded.json("topic", "list", "--seconds", "0")["topics"]
    (reader,) = topic["readers"]
    assert ("count/count", "print/count") == (topic["topic"], reader["input"])
    assert topic["sent"]["total"] > 0
    assert reader["received"]["total"] > 0
    assert "print/count  rover" in embedded.dora("topic", "info", "count", "--seconds", "0").stdout
    assert ["link", "link"] == [it["what"] for it in found["evidence"] if it["what"] == "link"]

    pid = embedded.pids()["count@base"]
    os.kill(pid, signal.SIGSTOP)
    found = why(embedded, "halted")
    assert f"dora machines exec base -- kill -CONT {pid}" == found["remedy"]
    embedded.dora("machines", "exec", "base", "--", "kill", "-CONT", str(pid))
    why(embedded, "none")

    os.kill(pid, signal.SIGKILL)
    found = why(embedded, "producer")
    assert "count on base is down since" in found["answer"]
    assert "it is started again in " in found["answer"]


def test_doctor_and_machines(embedded: Fleet, tmp_path: Path) -> None:
    """All is well; a machine that is away is an error, and so are packages without a wheel; what is
    said about each can be read."""
    found = embedded.json("doctor")
    assert found["healthy"]
    assert [None, None] == [link["error"] for link in found["links"]]
    assert {"base", "rover"} == {link["from"] for link in found["links"]}
    assert [["dora"], ["dora"]] == [it["packages"][0]["nodes"] for it in found["machines"].values()]
    assert "2 of 2 ways between machines work" in embedded.dora("doctor").stdout
    old = "{id: old, path: old.py, requirements: [markupsafe==0.23], deploy: {machine: base}}"
    flow = write_flow(tmp_path / "old", {"old.py": "import dora"}, f"nodes: [{old}]")
    found = embedded.json("doctor", flow, code=1)["machines"]
    assert ["wheels"] == [it["check"] for it in found["base"]["findings"]]
    assert [] == found["rover"]["findings"]

    facts = embedded.json("machines", "facts")
    assert facts["base"]["reachable"]
    assert facts["base"]["host"] in embedded.dora("machines", "facts").stdout

    done = embedded.dora("machines", "exec", "--", "echo one; echo two >&2; exit 3", code=1)
    lines = ["base one", "base two", "rover one", "rover two"]
    assert lines == sorted(done.stdout.splitlines())
    assert "rover: exit status 3" in done.stderr
    words = ["sh", "-c", 'echo "$0" "$1"', "a  b", "c"]
    done = embedded.dora("machines", "exec", "rover", "--json", "--", *words)
    expected = {"rover": {"status": 0, "output": ["a  b c"], "error": None}}
    assert expected == json.loads(done.stdout)["machines"]
    home = embedded.home / "data/dora/embedded/base"
    assert f"{home}\n" == embedded.dora("machines", "ssh", "base", "--", "pwd").stdout
    assert "two dashes" in embedded.dora("machines", "exec", code=2).stderr

    text = embedded.inventory.read_text()
    embedded.inventory.write_text(text + "  away: {host: 127.0.0.1, port: 1}\n")
    found = embedded.json("doctor", code=4)
    (finding,) = found["machines"]["away"]["findings"]
    assert ("reach", "error") == (finding["check"], finding["severity"])
    assert not found["healthy"]
    assert {"base", "rover"} == {name for name, it in found["machines"].items() if it["answers"]}
