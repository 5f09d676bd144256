"""A coordinator that stays: what is saved runs, what is wrong changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scenarios.fleet import Fleet, write_flow

NODE = """
from dora import Node
print("this is {version}", flush=True)
for event in Node():
    pass
"""
FLOW = """
nodes:
  - id: speaker
    path: speaker.py
    deploy: {machine: base}
    inputs: {tick: dora/timer/millis/200}
"""


def rows(stdout: Any) -> Iterator[dict[str, Any]]:
    """What it says in JSON; its progress goes to the same pipe."""
    for line in stdout:
        if line.startswith("{"):
            yield json.loads(line)


def test_what_is_saved_runs_and_what_is_wrong_changes_nothing(
    embedded: Fleet, tmp_path: Path
) -> None:
    """The new code prints; a broken file is told and leaves the process alone; a save that changes
    nothing keeps it; another inventory is connected to anew; Ctrl-C detaches."""
    script = tmp_path / "flow" / "speaker.py"
    flow = write_flow(script.parent, {"speaker.py": NODE.format(version="one")}, FLOW)
    flow = flow.rename(script.parent / "speech.yml")
    coordinator = embedded.start("coordinator", flow, "--watch-files", "--window", "0.5", "--json")
    told = rows(coordinator.stdout)
    passed_over: list[dict[str, Any]] = []
    try:
        assert "deployed" == next(told)["outcome"]
        seen = embedded.pids()["speaker@base"]
        said = coordinator.stdout
        assert said is not None

        def until(key: str, value: str) -> dict[str, Any]:
            """The first such row that was not asked for yet: what a node prints may come before
            the word that it is deployed, or after it."""
            for row in list(passed_over):
                if value in str(row.get(key)):
                    passed_over.remove(row)
                    return row
            for row in told:
                if value in str(row.get(key)):
                    return row
                passed_over.append(row)
            raise AssertionError(f"it ended, and never said {key}: {value}")

        script.write_text(NODE.format(version="two"))
        assert {"machine": "base", "node": "speaker"}.items() <= until("line", "two").items()
        assert "deployed" == until("outcome", "deployed")["outcome"]
        after = embedded.pids()["speaker@base"]
        assert after != seen

        flow.write_text("nodes: [")
        assert "not YAML" in until("error", "YAML")["error"]
        assert after == embedded.pids()["speaker@base"]

        flow.write_text(FLOW + "\n")
        assert "unchanged" == until("outcome", "unchanged")["outcome"]
        assert after == embedded.pids()["speaker@base"]

        embedded.inventory.write_text("machines:\n  base: {host: embedded, tags: [lab]}\n")
        assert "unchanged" == until("outcome", "unchanged")["outcome"]
        assert after == embedded.pids()["speaker@base"]

        script.write_text(NODE.format(version="three"))
        assert "three" in until("line", "three")["line"]
        assert "deployed" == until("outcome", "deployed")["outcome"]

        coordinator.send_signal(signal.SIGINT)
        assert 0 == coordinator.wait(100)
        assert "running" == embedded.nodes()["speaker"]["state"]
    finally:
        coordinator.kill()
        coordinator.wait()
        if coordinator.stdout is not None:
            coordinator.stdout.close()
