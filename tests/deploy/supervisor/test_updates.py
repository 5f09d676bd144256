"""Updates that are held up: by units that must not be disturbed, and by people."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import dora.protocol.updates
from tests.deploy.supervisor.machine import Client, Machine, alive, until

# Holds at once, says so, and lets go when it gets SIGUSR1.
HOLDER = f"""
import importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location("updates", {dora.protocol.updates.__file__!r})
updates = importlib.util.module_from_spec(spec)
spec.loader.exec_module(updates)
hold = updates.Hold("moving")
signal.signal(signal.SIGUSR1, lambda *_: (hold.release(), print("let go", flush=True)))
print("holds", flush=True)
while True:
    time.sleep(1000)
"""


def holding(machine: Machine) -> int:
    """A unit `arm` that holds updates up; its pid."""
    machine.activate(machine.unit("arm", HOLDER))
    until(lambda: "holds" in machine.log("arm"), "the hold")
    return int(machine.states()["arm"]["pid"])


def holds(machine: Machine) -> list[dict[str, Any]]:
    return list(machine.ask("holds")["holds"])


def let_go(machine: Machine, pid: int) -> None:
    os.kill(pid, signal.SIGUSR1)
    until(lambda: "let go" in machine.log("arm"), "the release")


def locked(machine: Machine, deployment: str = "flow") -> Client:
    client = machine.client()
    client.ok("lock", deployment=deployment, owner="bob@desk")
    return client


def test_a_unit_holds_updates_up_until_it_lets_go(machine: Machine) -> None:
    """Refused with who, why and since when; nothing is touched; later it goes on."""
    machine.start()
    pid = holding(machine)

    refused = machine.activate(machine.sleeper("other"))
    assert "held" == refused["code"]
    (hold,) = refused["holds"]
    assert ("flow", "arm", "moving") == (hold["deployment"], hold["unit"], hold["reason"])
    assert hold["since"] > 0
    assert pid == machine.states()["arm"]["pid"]
    with locked(machine) as client:
        assert "held" == client.ask("stop", deployment="flow")["code"]
        assert "held" == client.ask("restart", deployment="flow", unit="arm")["code"]

    let_go(machine, pid)
    assert [] == holds(machine)
    assert machine.activate(machine.sleeper("other"))["ok"]


def test_what_disturbs_no_process_is_not_held_up(machine: Machine) -> None:
    """The fleet's documents change with every deployment; that must not wait for anybody."""
    machine.start()
    pid = holding(machine)
    reply = machine.activate(machine.unit("arm", HOLDER, rank=3))
    assert reply["ok"], reply
    assert 2 == reply["number"]
    assert pid == machine.states()["arm"]["pid"]


def test_a_killed_unit_holds_nothing_up(machine: Machine) -> None:
    """Neither its lock nor its note outlives it."""
    machine.start()
    os.kill(holding(machine), signal.SIGKILL)
    until(lambda: holds(machine) == [], "the end of the hold")
    assert machine.activate(machine.sleeper("other"))["ok"]


def test_a_hold_outlives_the_supervisor(machine: Machine) -> None:
    """Also one that nobody saw begin: it needs no supervisor."""
    machine.start()
    pid = holding(machine)
    machine.kill()
    machine.start()
    assert ["moving"] == [hold["reason"] for hold in holds(machine)]
    assert "held" == machine.activate(machine.sleeper("other"))["code"]
    assert alive(pid)


def test_holding_waits_while_the_machine_is_on_trial(machine: Machine) -> None:
    """Or it would move, and be restarted by the way back."""
    machine.start()
    machine.activate(machine.unit("arm", HOLDER), confirm_timeout=600)
    machine.wait("arm", "running")
    assert [] == holds(machine)
    assert "holds" not in machine.log("arm")

    machine.ask("confirm", deployment="flow", number=1)
    until(lambda: "holds" in machine.log("arm"), "the hold")


def test_a_trial_stays_claimed_when_the_supervisor_dies(machine: Machine) -> None:
    """The next one takes the claim over, as it does the trial."""
    machine.start()
    machine.activate(machine.sleeper("a"), confirm_timeout=600)
    machine.kill()
    machine.start()
    assert "updating" == machine.ask("pause", owner="ada@laptop")["code"]


def test_a_claim_keeps_holds_away_until_it_is_over(machine: Machine) -> None:
    """Before the first machine is switched, none can be held up any more."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    with locked(machine) as client:
        client.ok("claim", deployment="flow")
        assert "updating" == machine.ask("pause", owner="ada@laptop")["code"]
        client.ok("unclaim", deployment="flow")
        assert machine.ask("pause", owner="ada@laptop")["ok"]
        assert "held" == client.ask("claim", deployment="flow")["code"]
        client.ok("claim", deployment="flow", regardless=True)
        machine.ask("resume")
    until(lambda: machine.ask("pause", owner="ada@laptop")["ok"], "the end of the claim")


def test_only_who_has_the_lock_may_claim(machine: Machine) -> None:
    """Else anybody could keep a robot from moving."""
    machine.start()
    assert "not_locked" == machine.ask("claim", deployment="flow")["code"]
    assert "not_locked" == machine.ask("unclaim", deployment="flow")["code"]


def test_a_pause_survives_everything_but_resume(machine: Machine) -> None:
    """It lies on the disk; the first reason and time are told, also by the probe."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pause = machine.ask("pause", owner="ada@laptop", reason="on a ladder")["pause"]
    machine.kill()
    machine.start()
    assert [pause] == holds(machine)
    refused = machine.activate(machine.sleeper("b"))
    assert ("held", "ada@laptop") == (refused["code"], refused["holds"][0]["owner"])

    assert pause == machine.ask("resume")["pause"]
    assert None is machine.ask("resume")["pause"]
    assert machine.activate(machine.sleeper("b"))["ok"]


def test_damaged_notes_hold_up_and_say_so(machine: Machine) -> None:
    """Whoever wrote them meant to hold: that is the safe side."""
    machine.start()
    pid = holding(machine)
    for text in ("[", "{}", '[{"since": "x", "reason": 1}]', '[{"since": NaN, "reason": ""}]'):
        machine.layout.hold("flow", "arm").write_text(text)
        (hold,) = holds(machine)
        assert ("arm", True) == (hold["unit"], "cannot be read" in hold["reason"])
    machine.layout.hold("flow", "arm").unlink()
    assert ["a process that left no note"] == [hold["reason"] for hold in holds(machine)]
    let_go(machine, pid)
    assert [] == holds(machine)

    machine.layout.paused.write_text("[]")
    assert ["somebody"] == [hold["owner"] for hold in holds(machine)]
    machine.ask("resume")
    assert [] == holds(machine)


def test_the_lock_file_goes_with_the_supervisor(machine: Machine) -> None:
    """A machine on which nothing is deployed keeps nothing in `run`."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    assert machine.stop()["ok"]
    until(lambda: not machine.layout.run.exists() or not any(machine.layout.run.iterdir()), "leave")
    assert not Path(machine.layout.updates).exists()


def test_nothing_is_started_on_a_paused_machine(machine: Machine) -> None:
    """Also not what should run there already, by a deployment of the same."""
    machine.start()
    broken = machine.unit("a", "raise SystemExit(1)")
    machine.activate(broken)
    machine.wait("a", "failed")
    machine.ask("pause", owner="ada@laptop")
    assert "held" == machine.activate(broken)["code"]
