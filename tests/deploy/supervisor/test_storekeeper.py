"""The store at the supervisor's socket: a process of its own, which nothing ties to it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from deploy import agent
from deploy.supervisor.storekeeper import COMM
from tests.deploy.supervisor.machine import PYTHON, Machine, alive, until

TREE = "0" * 40 + "-none"


def keepers(machine: Machine) -> set[int]:
    """Of this supervisor, whose command line they have."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == COMM:
                line = (entry / "cmdline").read_bytes().decode()
                found |= {int(entry.name)} if str(machine.layout.root) in line else set()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_the_store_answers_at_the_supervisors_socket(machine: Machine) -> None:
    """As over a channel of its own, as often as it is asked, beside other requests."""
    machine.start()
    with machine.client() as client, machine.client() as other:
        for one in (client, other):
            one.ok("store")
            assert [TREE] == one.ok("missing", trees=[TREE])["trees"]
            assert [TREE] == one.ok("missing", trees=[TREE])["trees"]
        assert 2 == len(keepers(machine))
        machine.ask("hello")
        assert "bad" == client.ask("nonsense")["code"]
    until(lambda: not keepers(machine), "the end of the store's processes")


def test_a_copy_goes_on_without_the_supervisor_and_does_not_hold_up_the_next(
    machine: Machine,
) -> None:
    """kill -9 in the midst of a conversation: neither its lock nor its socket is held open."""
    first = machine.start()
    with machine.client() as client:
        client.ok("store")
        machine.kill()
        assert [TREE] == client.ok("missing", trees=[TREE])["trees"]
        second = machine.start()
        assert first != second
        assert second == machine.ask("hello")["pid"]
        assert [TREE] == client.ok("missing", trees=[TREE])["trees"]


def test_who_comes_to_work_has_a_supervisor_started_meanwhile(machine: Machine) -> None:
    """Facts first, its word as the second line, then the store, all in one conversation."""
    assert 0 == machine.call("version").returncode  # the agent is there
    argv = agent.command(PYTHON, str(machine.layout.root), "work", "flow", "start")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert b"ready\n" == process.stdout.readline()
        facts = json.loads(process.stdout.readline())
        hello = json.loads(process.stdout.readline())
        assert not facts["supervisor"].get("running")
        assert True is hello["ok"]
        assert hello["pid"] == machine.start()
        process.stdin.write(json.dumps({"op": "missing", "trees": [TREE]}).encode() + b"\n")
        process.stdin.flush()
        assert [TREE] == json.loads(process.stdout.readline())["trees"]


def test_a_supervisor_that_is_told_that_there_is_no_work_does_not_wait_for_any(
    machine: Machine,
) -> None:
    """One that was only started does, for half a minute."""
    pid = machine.start()
    with machine.client() as client:
        client.ok("hello", leave=True)
        assert alive(pid)  # somebody is connected
    until(lambda: not alive(pid), "its end")  # asked for less than half a minute
