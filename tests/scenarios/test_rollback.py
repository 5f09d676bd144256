"""Going back: by itself, by hand, and how much of the past is kept."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.scenarios.fleet import Fleet, wait_until, write_flow

NODE = """
from dora import Node
print("VERSION", flush=True)
for event in Node():
    pass
"""
FLOW = """\
nodes:
  - {id: a, path: a.py, inputs: {t: dora/timer/millis/500}, deploy: {machine: base}}
  - {id: b, path: b.py, inputs: {t: dora/timer/millis/500}, deploy: {machine: rover}}
"""


def flow(folder: Path, a: str, b: str = "one") -> Path:
    """Two nodes that say their version."""
    scripts = {"a.py": NODE.replace("VERSION", a), "b.py": NODE.replace("VERSION", b)}
    return write_flow(folder / "pair", scripts, FLOW)


def root(fleet: Fleet, machine: str) -> Path:
    return fleet.home / f"data/dora/embedded/{machine}/.local/share/dora"


def clear(fleet: Fleet) -> None:
    """Stories before this one left generations and logs of the same name."""
    for machine in ("base", "rover"):
        for file in (root(fleet, machine) / "deployments/pair/generations").glob("*.json"):
            file.unlink()
        shutil.rmtree(root(fleet, machine) / "logs/pair", ignore_errors=True)


def rows_of(result: Any) -> dict[str, Any]:
    return {row["machine"]: row for row in result["machines"]}


def versions(fleet: Fleet) -> dict[str, str]:
    """What each node's running process said first."""
    return {name: fleet.lines(name)[-1] for name in ("a", "b")}


def test_generations_are_listed_gone_back_to_and_removed(embedded: Fleet, tmp_path: Path) -> None:
    """Deploy twice, look, go back, go forth, remove what is old, find and repair damage."""
    clear(embedded)
    embedded.deploy(flow(tmp_path, "one"))
    embedded.deploy(flow(tmp_path, "two"))
    before = embedded.pids()
    listed = embedded.json("generations", "pair")["revisions"]
    assert [(2, True), (1, False)] == [(row["number"], row["current"]) for row in listed]
    assert [{"base"}, {"base", "rover"}] == [set(row["machines"]) for row in listed]

    result = embedded.json("rollback", "pair")
    assert ("deployed", "unchanged") == tuple(it["outcome"] for it in rows_of(result).values())
    assert {"a": "one", "b": "one"} == versions(embedded)
    after = embedded.pids()
    assert {"a@base"} == {name for name in before if before[name] != after[name]}
    listed = embedded.json("generations", "pair")["revisions"]
    assert (3, "rollback to 1", True) == tuple(
        listed[0][key] for key in ("number", "note", "current")
    )
    assert {"generation": 3, "current": True, "pending": False, "failure": None} == listed[0][
        "machines"
    ]["base"]
    embedded.dora("rollback", "pair", "--to", "2")
    assert "two" == versions(embedded)["a"]
    assert "no revision 9" in embedded.dora("rollback", "pair", "--to", "9", code=1).stderr
    assert "*" in embedded.dora("generations").stdout

    old = root(embedded, "base") / "agent" / ("0" * 64)
    old.mkdir()
    removed = embedded.json("gc", "--keep", "1")["machines"]
    assert [1, 2, 3] == removed["base"]["generations"]["pair"]
    assert removed["base"]["trees"] > 0
    assert not old.exists()
    assert after["b@rover"] == embedded.pids()["b@rover"]

    # Other stories have deployed a node `a` to this machine, too.
    trees = (root(embedded, "base") / "store/trees").glob("*-a/a.py")
    tree = next(path for path in trees if 'print("two"' in path.read_text())
    tree.chmod(0o600)
    tree.write_text("damaged")
    tree.chmod(0o444)
    found = embedded.json("store", "verify", "--limit", "base", code=1)["machines"]["base"]
    assert {"a.py: has another content"} == set(found["damaged_trees"].values())
    embedded.dora("store", "repair", "--limit", "base")
    again = rows_of(embedded.deploy(flow(tmp_path, "two")))
    assert again["base"]["bytes"] > 0
    assert "base: sound" in embedded.dora("store", "verify", "--limit", "base").stdout


def test_a_failed_revision_is_kept_with_its_reason(embedded: Fleet, tmp_path: Path) -> None:
    """Both machines go back, though one of them was well; all of it can be read afterwards."""
    clear(embedded)
    embedded.deploy(flow(tmp_path, "one"))
    bad = flow(tmp_path, "two", "two")
    (bad.parent / "a.py").write_text("raise SystemExit('no camera')\n")

    result = embedded.deploy(bad, code=5)

    assert "rolled_back" == result["outcome"]
    for row in result["machines"]:
        assert ("rolled_back", 1, 1, 2) == tuple(
            row[key] for key in ("outcome", "generation", "previous", "failed_generation")
        )
        assert "base: a exited with code 1" == row["reason"]
    wait_until(lambda: versions(embedded)["b"] == "one", "the old node")
    newest = embedded.json("generations", "pair")["revisions"][0]
    assert (True, False) == (newest["failed"], newest["current"])
    file = root(embedded, "base") / "deployments/pair/generations/2.json"
    failure = json.loads(file.read_text())["failure"]
    assert "no camera" in failure["units"]["a"]["last_lines"]
    refused = embedded.dora("rollback", "pair", "--to", str(newest["number"]), code=1)
    assert "has failed" in refused.stderr


def test_no_rollback_keeps_what_failed(embedded: Fleet, tmp_path: Path) -> None:
    """Exit code 1; it is confirmed, and stays."""
    clear(embedded)
    embedded.deploy(flow(tmp_path, "one"))
    bad = flow(tmp_path, "two")
    (bad.parent / "a.py").write_text("raise SystemExit('no camera')\n")

    result = embedded.deploy(bad, "--no-rollback", "--confirm-timeout", "10", code=1)

    base = rows_of(result)["base"]
    assert ("failed", 2) == (base["outcome"], base["generation"])
    assert "failed" == embedded.nodes()["a"]["state"]
    machines = embedded.json("status")["machines"]
    assert (2, {}) == (machines["base"]["generations"]["pair"], machines["base"]["trials"])


def test_an_interrupted_deployment_goes_back_by_itself(embedded: Fleet, tmp_path: Path) -> None:
    """Ctrl-C while nodes start: it says what becomes of them, and what ran before runs again; the
    next deployment completes."""
    clear(embedded)
    embedded.deploy(flow(tmp_path, "one"))
    slow = flow(tmp_path, "two")
    (slow.parent / "a.py").write_text("import time\nprint('slow', flush=True)\ntime.sleep(1000)\n")
    deploying = embedded.start("deploy", slow, "--detach", "--confirm-timeout", "12")
    try:
        log = root(embedded, "base") / "logs/pair/a.log"  # read there, as its time is short
        wait_until(lambda: "slow" in log.read_text(), "the new generation starts")
        deploying.send_signal(signal.SIGINT)
        output, _ = deploying.communicate(timeout=100)
    finally:
        deploying.kill()
        deploying.wait()
    assert 130 == deploying.returncode
    assert "base: unknown: goes back by itself at" in output

    def back() -> bool:
        machine = embedded.json("status")["machines"]["base"]
        return bool(machine["generations"]["pair"] == 1 and not machine["trials"])

    wait_until(back, "the way back")
    wait_until(lambda: versions(embedded)["a"] == "one", "the old node")
    assert "deployed" == embedded.deploy(flow(tmp_path, "three"))["outcome"]


def test_a_silent_owner_loses_its_lock_and_a_living_one_can_be_asked_for_it(
    embedded: Fleet, tmp_path: Path
) -> None:
    """A stopped `dora deploy` holds its lock until somebody breaks it; its own command fails."""
    clear(embedded)
    embedded.deploy(flow(tmp_path, "one"))
    slow = flow(tmp_path, "two")
    (slow.parent / "a.py").write_text("import time\nprint('slow', flush=True)\ntime.sleep(1000)\n")
    deploying = embedded.start("deploy", slow, "--detach", "--confirm-timeout", "200")
    try:
        wait_until(lambda: "slow" in embedded.lines("a"), "the new generation starts")
        deploying.send_signal(signal.SIGSTOP)
        held = embedded.dora("deploy", flow(tmp_path, "three"), "--detach", code=6)
        assert "is locked by" in held.stderr
        assert "is locked by" in embedded.dora("status").stdout
        broken = embedded.json("unlock", "pair")["locked_by"]
        assert {"base"} == set(broken)
        assert "deployed" == embedded.deploy(flow(tmp_path, "three"))["outcome"]
        deploying.send_signal(signal.SIGCONT)
        assert deploying.wait(200) in (1, 5)
    finally:
        deploying.kill()
        deploying.wait()
        assert deploying.stdout is not None
        deploying.stdout.close()
    assert "three" == versions(embedded)["a"]
