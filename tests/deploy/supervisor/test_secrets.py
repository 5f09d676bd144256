"""Secrets of units on a machine: who gets them, how long they stay, what happens without them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.secret import Secret, reference
from deploy.supervisor.layout import Layout
from deploy.supervisor.secrets import SecretMissing, Secrets
from deploy.unit import Unit
from tests.deploy.supervisor.machine import Machine, until

KEY = bytes(32)


def told(unit: Unit, content: bytes, *, path: bool = False) -> Unit:
    name = "TOKEN_FILE" if path else "TOKEN"
    secret = Secret(name, reference(KEY, unit.name, name, content), path)
    return replace(unit, secrets=(*unit.secrets, secret))


def hand_over(machine: Machine, unit: Unit, content: bytes) -> None:
    assert {"ok": True} == machine.secret(unit.secrets[-1].reference, content)


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    return dict(os.fsdecode(pair).split("=", 1) for pair in pairs)


def test_a_unit_finds_its_secrets_and_nothing_else_does(machine: Machine) -> None:
    """As a variable, or as the path of a file; in no command line and in no other file."""
    machine.start()
    inside = told(machine.sleeper("inside"), b"hush-1")
    beside = told(machine.sleeper("beside"), b"hush-2", path=True)
    other = machine.sleeper("other")
    hand_over(machine, inside, b"hush-1")
    hand_over(machine, beside, b"hush-2")
    machine.activate(inside, beside, other)
    pids = {name: machine.wait(name, "running")["pid"] for name in ("inside", "beside", "other")}

    assert "hush-1" == environment(pids["inside"])["TOKEN"]
    assert b"hush-2" == Path(environment(pids["beside"])["TOKEN_FILE"]).read_bytes()
    assert not {"TOKEN", "TOKEN_FILE"} & environment(pids["other"]).keys()
    for pid in pids.values():
        assert b"hush" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    holding = {
        path
        for path in machine.layout.root.rglob("*")
        if path.is_file() and not path.is_symlink() and b"hush-" in path.read_bytes()
    }
    files = {it.secrets[0].reference for it in (inside, beside)}
    assert {machine.layout.secrets("flow") / name for name in files} == holding


def test_what_refers_to_a_secret_that_is_not_there_is_refused(machine: Machine) -> None:
    """Nothing is switched; and a unit that lost its secret later says so, and can be mended."""
    machine.start()
    unit = told(machine.sleeper("a"), b"hush")
    missing = f"secrets/flow/{unit.secrets[0].reference}"
    reply = machine.activate(unit)
    assert ("missing_paths", [missing]) == (reply["code"], reply["paths"])

    hand_over(machine, unit, b"hush")
    machine.activate(unit)
    machine.wait("a", "running")
    (machine.layout.secrets("flow") / unit.secrets[0].reference).unlink()
    assert [missing] == machine.ask("status", deployment="flow")["missing"]
    machine.ask("restart", deployment="flow", unit="a")
    error = until(lambda: machine.states()["a"]["error"], "a failed start")
    assert "its secret TOKEN is not here" in error
    assert error.endswith("deploy again")


def test_secrets_stay_as_long_as_a_generation_refers_to_them(machine: Machine) -> None:
    """So that going back, and a supervisor that starts anew, find what they need. Keys stay."""
    machine.start()
    units = [told(machine.sleeper("a"), content) for content in (b"old", b"new")]
    names = [unit.secrets[0].reference for unit in units]
    machine.secret("key.pem", b"-----BEGIN PRIVATE KEY-----\n")
    for unit, content in zip(units, (b"old", b"new"), strict=True):
        hand_over(machine, unit, content)
        machine.activate(unit)
    folder = machine.layout.secrets("flow")
    (folder / ".half.1.tmp").write_bytes(b"ne")

    def prune(keep: int) -> list[str]:
        with machine.client() as client:
            client.ok("lock_all", owner="t")
            client.ok("prune", keep=keep)
        return sorted(path.name for path in folder.iterdir())

    assert sorted(["key.pem", *names]) == prune(2)
    assert sorted(["key.pem", names[1]]) == prune(1)


def test_a_content_that_no_variable_can_hold_is_told(tmp_path: Path) -> None:
    """A NUL would make `exec` fail with words that nobody understands."""
    secrets = Secrets(Layout(str(tmp_path)))
    unit = told(Unit("a", ("true",), "/"), b"a\0b")
    secrets.write("flow", unit.secrets[0].reference, b"a\0b")
    with pytest.raises(SecretMissing, match="has a NUL in it"):
        secrets.environment("flow", unit)
