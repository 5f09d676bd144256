"""Watching from another laptop: the inventory is enough, and the robot tells the truth."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lan.bench import Lan
from tests.lan.rollbacks import GOOD, WELL
from tests.scenarios.fleet import Fleet, wait_until, write_flow

ROBOT, NAME = 3, "robot3"
FLOW = "nodes:\n  - {id: steady, path: steady.py, restart_policy: always}\n"


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    inventory = tmp_path / "machines.yml"
    inventory.write_text(
        f"machines:\n  {NAME}:" + lan.inventory_text(user="robot").split(f"  {NAME}:")[1]
    )
    fleet = Fleet(lan.home, inventory, cache=cache)
    yield fleet
    lan.heal(ROBOT)
    fleet.dora("stop", "watched")


def test_another_laptop_attaches_and_is_told_what_it_missed(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """It sees what is so, a restart by hand, since when a cut robot is unknown, and, when that is
    back, what became of its node meanwhile."""
    script = (GOOD + WELL).replace("VERSION", "one")
    fleet.deploy(write_flow(tmp_path / "watched", {"steady.py": script}, FLOW))
    other = Fleet(lan.home, fleet.inventory, cache=tmp_path / "another cache")
    watcher = other.start("attach", "--json")
    said: list[dict[str, Any]] = []

    def until(wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        assert watcher.stdout is not None
        for line in watcher.stdout:
            if line.startswith("{"):
                said.append(json.loads(line))
                if wanted(said[-1]):
                    return said[-1]
        raise AssertionError(f"it ended, and had said {said}")

    try:
        (node,) = until(lambda row: "nodes" in row)["nodes"]
        assert ("steady", NAME, "running") == (node["node"], node["machine"], node["state"])
        assert "up" == said[-1]["machines"][NAME]["link"]

        done = fleet.json("restart", "watched", "steady")["machines"]
        assert [(NAME, "running", node["pid"])] == [
            (row["machine"], row["state"], row["before"]) for row in done
        ]
        pid = done[0]["pid"]
        assert pid != node["pid"]
        assert 1 == until(lambda row: row.get("pid") == pid)["restarts"]
        assert "no node 'nobody'" in fleet.dora("restart", "watched", "nobody", code=1).stderr

        lan.cut(ROBOT)
        cut = time.time()
        lost = until(lambda row: row.get("link") == "unknown")
        assert NAME == lost["machine"]
        assert lost["since"] <= cut + 2  # not when that was found out
        lan.kill(ROBOT, pid)

        def again() -> list[int]:
            return [it.pid for it in lan.processes(ROBOT) if "steady.py" in it.command]

        wait_until(lambda: again() not in ([], [pid]), "the node is back")
        lan.heal(ROBOT)
        assert 0 < until(lambda row: row.get("link") == "up")["away"]
        (now,) = again()
        assert "steady" == until(lambda row: row.get("pid") == now)["node"]

        watcher.send_signal(signal.SIGINT)
        assert watcher.stdout is not None
        assert "detached; watched keeps running" in watcher.stdout.read()
        assert 0 == watcher.wait(60)
        assert [now] == again()
    finally:
        watcher.kill()
        watcher.communicate()
