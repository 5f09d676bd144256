"""Secrets from the laptop to a node, and nowhere else: deploy, change, go back, clean up, run."""

from __future__ import annotations

import os
from pathlib import Path

from tests.scenarios.fleet import Fleet, processes_below, wait_until, write_flow
from tests.scenarios.hunt import files_with, told_to

TELL = """
import hashlib, os
from dora import Node
node = Node()
for name in sorted(os.environ):
    if name.startswith("MY_"):
        value = os.environ[name].encode()
        value = open(value, "rb").read() if name.endswith("_FILE") else value
        print(name, hashlib.sha256(value).hexdigest()[:12], flush=True)
"""
STAY = """
for event in node:
    pass
"""
FLOW = """\
nodes:
  - id: keeper
    path: keeper.py
    inputs: {tick: dora/timer/secs/1}
    secrets:
      MY_TOKEN: {file: token}
      MY_KEY: {env: KEY_OF_TEST, as: path}
      MY_WORD: {command: [cat, word]}
    deploy: {machine: base}
  - id: other
    path: keeper.py
    inputs: {tick: dora/timer/secs/1}
    deploy: {machine: base}
"""
MARK = "xyzzy-2718"  # in all that is secret here
TOKEN, KEY, WORD, NEW = (f"{MARK}-{name}" for name in ("token", "key", "word", "new"))


def keeper(folder: Path) -> Path:
    flow = write_flow(folder / "keeper", {"keeper.py": TELL + STAY}, FLOW)
    (folder / "keeper/token").write_text(f"{TOKEN}\n")
    (folder / "keeper/word").write_text(f"{WORD}\n")
    return flow


def root(fleet: Fleet) -> Path:
    return fleet.home / "data/dora/embedded/base/.local/share/dora"


def secret_files(fleet: Fleet) -> set[Path]:
    return set((root(fleet) / "secrets/keeper").iterdir())


def test_secrets_reach_their_node_and_nothing_else(embedded: Fleet, tmp_path: Path) -> None:
    """Promise 7: no secret in the store, argv, logs, plan or generation; a changed one restarts
    its node, going back finds the old one, and cleaning up removes what nothing refers to."""
    flow = keeper(tmp_path)
    embedded.env["KEY_OF_TEST"] = KEY
    plans = embedded.dora("plan", flow, "--json").stdout
    said = embedded.dora("deploy", flow, "--detach", "-v")

    expected = told_to({"MY_TOKEN": TOKEN, "MY_KEY_FILE": KEY, "MY_WORD": WORD})
    wait_until(lambda: embedded.lines("keeper") == expected, "the node to find its secrets")
    assert embedded.lines("other") == []
    holding = files_with(MARK, [embedded.home, *cache_of(embedded)])
    assert len(holding) == 3
    assert holding < secret_files(embedded)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in secret_files(embedded)}
    assert 0o700 == (root(embedded) / "secrets/keeper").stat().st_mode & 0o777
    assert not any(MARK in line for line in processes_below(embedded.home).values())
    plans += embedded.dora("plan", flow, "--json").stdout + embedded.dora("status", "--json").stdout
    assert MARK not in plans + said.stdout + said.stderr
    assert "unchanged" == embedded.deploy(flow)["outcome"]

    pids = embedded.pids()
    (flow.parent / "token").write_text(NEW)
    rows = embedded.json("plan", flow)["machines"]
    changes = {it["unit"]: it for row in rows for it in row["changes"]}
    assert ["secret MY_TOKEN changed"] == changes["keeper"]["reasons"]
    assert "deployed" == embedded.deploy(flow)["outcome"]
    assert {"keeper@base"} == {it for it, pid in embedded.pids().items() if pid != pids[it]}
    fresh = told_to({"MY_TOKEN": NEW, "MY_KEY_FILE": KEY, "MY_WORD": WORD})
    wait_until(lambda: embedded.lines("keeper")[3:] == fresh, "the new secret")

    embedded.dora("rollback", "keeper")
    wait_until(lambda: embedded.lines("keeper")[6:] == expected, "the old secret")
    assert {TOKEN, NEW, KEY, WORD} <= {path.read_text("latin1") for path in secret_files(embedded)}

    embedded.dora("gc", "--keep", "1")
    wait_until(
        lambda: files_with(NEW, [embedded.home]) == set(), "the secret that nothing refers to"
    )
    assert len(files_with(MARK, [embedded.home])) == 3


def test_secrets_that_cannot_be_had_end_the_command(embedded: Fleet, tmp_path: Path) -> None:
    """Exit code 3 with file and line of each, and nothing is started."""
    flow = keeper(tmp_path)
    embedded.env.pop("KEY_OF_TEST", None)
    (flow.parent / "word").unlink()
    done = embedded.dora("deploy", flow, "--detach", code=3)
    assert "flow.yml:7:7: the secret MY_KEY of keeper cannot be had: the variable" in done.stderr
    assert "flow.yml:8:7: the secret MY_WORD of keeper cannot be had: 'cat' ended" in done.stderr
    assert [] == embedded.json("status")["nodes"]


def test_secrets_under_dora_run(embedded: Fleet, tmp_path: Path) -> None:
    """The same node finds the same, and nothing stays behind."""
    flow = keeper(tmp_path)
    (flow.parent / "keeper.py").write_text(TELL)
    embedded.env["KEY_OF_TEST"] = KEY
    embedded.env["TMPDIR"] = str(tmp_path / "tmp")
    os.mkdir(tmp_path / "tmp")
    done = embedded.dora("run", flow)
    told = told_to({"MY_TOKEN": TOKEN, "MY_KEY_FILE": KEY, "MY_WORD": WORD})
    assert [] == [line for line in told if line not in done.stdout]
    assert set() == files_with(MARK, [tmp_path / "tmp"])


def cache_of(fleet: Fleet) -> list[Path]:
    return [Path(fleet.env["XDG_CACHE_HOME"])]
