"""Units that break what they were given, and others' processes that pose as units: all else goes on
as it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from deploy.unit import RestartPolicy, StopPolicy
from tests.deploy.supervisor.machine import Machine, until

NOBODY = 65534
BREAKS = """
import os, time
control = os.environ["DEPLOY_CONTROL"]
os.unlink(control)
os.mkdir(control)
print("broken", flush=True)
time.sleep(1000)
"""


def test_a_unit_that_breaks_its_control_pipe_keeps_no_other_from_anything(
    machine: Machine,
) -> None:
    """Others come back when they die, and all end when they are to: it by a signal."""
    machine.start()
    machine.activate(
        machine.unit("broken", BREAKS, stop=StopPolicy(term_after=1)),
        machine.sleeper("well", restart=RestartPolicy(when="always")),
    )
    until(lambda: machine.log("broken") == "broken\n", "the breaking")
    assert {"broken", "well"} == set(machine.stop()["stopped"])
    assert {} == machine.states()


def test_a_unit_that_cannot_start_for_its_broken_pipe_says_so(machine: Machine) -> None:
    """What it left in the pipe's place is its failure, not the supervisor's."""
    machine.start()
    machine.activate(machine.unit("broken", BREAKS), machine.sleeper("well"))
    until(lambda: machine.log("broken") == "broken\n", "the breaking")
    os.kill(machine.wait("broken", "running")["pid"], signal.SIGKILL)
    assert "SIGKILL" == machine.wait("broken", "failed")["exit"]["signal"]
    assert machine.ask("restart", deployment="flow", unit="broken")["ok"]
    assert "Is a directory" in machine.wait("broken", "failed")["error"]
    assert {"broken", "well"} == set(machine.stop()["stopped"])


def test_a_group_that_became_another_users_is_no_surprise(machine: Machine) -> None:
    """A unit may be `sudo`: what it became cannot be signalled, and all else goes on."""
    script = (
        "import os, signal, sys\n"
        "from deploy.supervisor.layout import Layout\n"
        "from deploy.supervisor.process import Processes\n"
        "os.geteuid() or os.setresuid(*[65534] * 3)\n"
        "Processes(Layout(sys.argv[1])).signal(int(sys.argv[2]), signal.SIGURG)\n"
        "print('goes on')\n"
    )
    others = os.getpgrp() if os.geteuid() == 0 else 1  # ours is root's; SIGURG is ignored
    done = subprocess.run(
        [sys.executable, "-c", script, str(machine.layout.root), str(others)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert "goes on\n" == done.stdout, done.stderr
    assert "another user's" in done.stderr


def test_nobody_else_can_pose_as_a_unit(machine: Machine) -> None:
    """Root can read every process's environment: what another user's says there is not believed."""
    assert os.geteuid() == 0, "run this test as root: it starts another user's process"
    environment = {
        "DEPLOY_CONTROL": str(machine.layout.control("flow", "a")),
        "DEPLOY_UNIT": "a",
        "DEPLOY_FINGERPRINT": machine.sleeper("a").fingerprint,
    }
    with subprocess.Popen(
        ["sleep", "1000"], env=environment, start_new_session=True, user=NOBODY
    ) as impostor:
        try:
            machine.start()
            machine.activate(machine.sleeper("a"))
            assert impostor.pid != machine.wait("a", "running")["pid"]
            machine.stop()
            assert impostor.poll() is None
            assert [] == machine.processes("a")
        finally:
            impostor.kill()
