"""Health commands on a machine: real units, real commands, and what is kept of those that fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from deploy.unit import HealthCommand, Unit
from tests.deploy.supervisor.machine import PYTHON, Machine, alive, until
from tests.deploy.supervisor.test_switch import LONG, deployment, generation


def command(script: str, timeout: float = 10.0) -> HealthCommand:
    return HealthCommand((PYTHON, "-I", "-S", "-u", "-c", script), "check", timeout)


def health(machine: Machine) -> dict[str, Any]:
    found = machine.states()["a"]["health"]
    return found or {"state": "none"}


def sleeper(machine: Machine, *commands: HealthCommand, **fields: Any) -> Unit:
    return machine.sleeper("a", health=commands, **fields)


def test_commands_have_the_units_folder_and_environment_but_not_its_voice(
    machine: Machine,
) -> None:
    """A check that said READY=1, or that was taken for the unit, would be no check."""
    machine.start()
    look = command(
        "import os, json; json.dump([os.getcwd(), dict(os.environ)], open('seen.json', 'w'))"
    )
    missing = command("import os; os.stat('seen.json')")
    machine.activate(sleeper(machine, look, missing, env={"SITE": "lab"}), confirm_timeout=LONG)
    until(lambda: health(machine)["state"] == "passed", "the check")
    folder = machine.layout.state("flow", "a")
    cwd, environ = json.loads((folder / "seen.json").read_text())
    assert (str(folder), "lab", "a") == (cwd, environ["SITE"], environ["DEPLOY_UNIT"])
    assert not {"NOTIFY_SOCKET", "DEPLOY_CONTROL", "DEPLOY_HOLD"} & environ.keys()
    assert machine.ask("confirm", deployment="flow", number=1)["ok"]
    assert {"state": "none"} == health(machine)


def test_a_failing_command_is_kept_with_its_last_words(machine: Machine) -> None:
    """In the unit's record and, once the machine has gone back, in the generation's file."""
    machine.start()
    say = "import sys; print('x' * 5000); print('no map'); sys.exit(3)"
    machine.activate(sleeper(machine, command(say)), machine.sleeper("b"), confirm_timeout=LONG)
    until(lambda: health(machine)["state"] == "failed", "the check")
    why = "failed its health command `check`: exited with code 3"
    assert (why, ["no map"]) == (health(machine)["error"], health(machine)["last_lines"])
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada@laptop")
        client.ok("revert", deployment="flow", reason="unhealthy")
    failure = generation(machine, 1).failure
    assert failure is not None
    assert {"a"} == set(failure.units)
    record = failure.units["a"]
    assert ("running", why, ["no map"]) == (
        record["state"],
        record["error"],
        record["last_lines"],
    )


def test_a_command_that_does_not_end_is_killed_with_its_children(machine: Machine) -> None:
    """Also one that says more than is kept, without end."""
    machine.start()
    script = (
        "import os, subprocess\n"
        "children = [subprocess.Popen(['sleep', '1000']), subprocess.Popen(['yes'])]\n"
        "with open('new', 'w') as f: print(os.getpid(), *[c.pid for c in children], file=f)\n"
        "os.rename('new', 'pids')\n"
        "children[0].wait()\n"
    )
    machine.activate(sleeper(machine, command(script, 4.0)), confirm_timeout=LONG)
    until(lambda: health(machine)["state"] == "failed", "the check")
    assert "failed its health command `check`: not over after 4 s" == health(machine)["error"]
    file = machine.layout.state("flow", "a") / "pids"
    pids = [int(pid) for pid in file.read_text().split()]
    until(lambda: not any(map(alive, pids)), "the end of the command")
    assert "y" in health(machine)["last_lines"]
    assert "running" == machine.states()["a"]["state"]


def test_a_command_that_is_no_program_fails(machine: Machine) -> None:
    """It says so, as a unit does."""
    machine.start()
    no_program = HealthCommand(("no-such-program",), "no-such-program --x")
    machine.activate(sleeper(machine, no_program), confirm_timeout=LONG)
    until(lambda: health(machine)["state"] == "failed", "the check")
    assert "'no-such-program' is not a program on this machine" in health(machine)["error"]


def running_check(machine: Machine) -> int:
    """The pid of a check that does not end."""
    file = machine.layout.state("flow", "a") / "pid"
    until(lambda: file.exists() and file.read_text().endswith("\n"), "the check")
    return int(file.read_text())


ENDLESS = command(
    "import os, time; print(os.getpid(), file=open('pid', 'w')); time.sleep(1000)", 600
)


def test_a_check_ends_with_its_trial(machine: Machine) -> None:
    """Whoever confirms does not wait for it (--no-rollback); the unit goes on."""
    machine.start()
    machine.activate(sleeper(machine, ENDLESS), confirm_timeout=LONG)
    pid = running_check(machine)
    unit = machine.states()["a"]["pid"]
    assert machine.ask("confirm", deployment="flow", number=1)["ok"]
    until(lambda: not alive(pid), "the end of the check")
    assert unit == machine.states()["a"]["pid"]


def test_a_check_dies_with_its_supervisor_and_is_run_by_the_next(machine: Machine) -> None:
    """Nobody is left to hear how it ended."""
    machine.start()
    machine.activate(sleeper(machine, ENDLESS), confirm_timeout=LONG)
    pid = running_check(machine)
    machine.kill()
    until(lambda: not alive(pid), "the end of the check")
    os.unlink(machine.layout.state("flow", "a") / "pid")
    machine.start()
    assert pid != running_check(machine)
    assert 1 == deployment(machine)["pending"]["number"]


def test_another_health_command_restarts_no_unit(machine: Machine) -> None:
    """It is a new generation all the same, and is checked."""
    machine.start()
    machine.activate(sleeper(machine))
    pid = machine.wait("a", "running")["pid"]
    reply = machine.activate(sleeper(machine, command("open('seen', 'w')")), confirm_timeout=LONG)
    assert (2, ["a"]) == (reply["number"], reply["kept"])
    until(lambda: health(machine)["state"] == "passed", "the check")
    assert Path(machine.layout.state("flow", "a") / "seen").exists()
    assert pid == machine.states()["a"]["pid"]
