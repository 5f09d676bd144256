"""Generations on trial, with real supervisors and units: confirmed, gone back from, killed."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from deploy.generation import Generation
from deploy.unit import RestartPolicy
from tests.deploy.supervisor.machine import Machine, alive, until

BROKEN = "import sys; print('no camera', flush=True); sys.exit(3)"
LONG = 600.0


def generation(machine: Machine, number: int) -> Generation:
    path = machine.layout.generations("flow") / f"{number}.json"
    return Generation.from_json(json.loads(path.read_text()))


def deployment(machine: Machine) -> dict[str, Any]:
    found = machine.ask("deployments")["deployments"]["flow"]
    assert isinstance(found, dict)
    return found


def booted(machine: Machine) -> str:
    return os.readlink(machine.layout.booted("flow"))


def two_generations(machine: Machine, confirm_timeout: float) -> dict[str, int]:
    """`kept` is in both, `a` changes; the pids of the first, which is confirmed."""
    machine.activate(machine.sleeper("a"), machine.sleeper("kept"))
    pids = {name: machine.wait(name, "running")["pid"] for name in ("a", "kept")}
    machine.activate(
        machine.sleeper("a", env={"NEW": "1"}),
        machine.sleeper("kept"),
        machine.unit("broken", BROKEN, restart=RestartPolicy()),
        confirm_timeout=confirm_timeout,
        revision="r2",
    )
    return pids


def test_what_is_confirmed_stays(machine: Machine) -> None:
    """Any connection may confirm, more than once; then it is what is booted."""
    machine.start()
    reply = machine.activate(machine.sleeper("a"), confirm_timeout=4)
    assert (1, None) == (reply["number"], reply["previous"])
    assert 1 == deployment(machine)["pending"]["number"]
    pid = machine.wait("a", "running")["pid"]
    for _ in range(2):
        assert 1 == machine.ask("confirm", deployment="flow", number=1)["number"]
    assert None is deployment(machine)["pending"]
    time.sleep(4.2)
    assert pid == machine.states()["a"]["pid"]
    assert "generations/1.json" == booted(machine)


def test_without_confirmation_the_generation_before_returns(machine: Machine) -> None:
    """By itself; what is equal in both keeps its process; why is kept with the generation."""
    machine.start()
    pids = two_generations(machine, 4.0)
    machine.wait("broken", "failed")
    assert "generations/1.json" == booted(machine)
    until(lambda: deployment(machine)["current"] == 1, "the way back")
    until(lambda: set(machine.states()) == {"a", "kept"}, "the end of what came")
    assert pids["kept"] == machine.wait("kept", "running")["pid"]
    assert machine.wait("a", "running")["pid"] != pids["a"]
    failed = generation(machine, 2).failure
    assert failed is not None
    assert "it was not confirmed in time" == failed.reason
    assert ["no camera"] == failed.units["broken"]["last_lines"]
    assert {"code": 3} == failed.units["broken"]["exit"]
    assert {"broken"} == set(failed.units) - {"a"}  # a may not have come up again yet
    refusal = machine.ask("confirm", deployment="flow", number=2)
    assert ("gone_back", 1) == (refusal["code"], refusal["current"])
    assert 3 == machine.activate(machine.sleeper("a"))["number"]


def test_a_first_generation_goes_back_to_nothing(machine: Machine) -> None:
    """Its units end, the supervisor leaves, the file tells why."""
    pid = machine.start()
    machine.activate(machine.sleeper("a"), confirm_timeout=3.0)
    unit = machine.wait("a", "running")["pid"]
    until(lambda: not alive(unit), "the end of the unit")
    until(lambda: not alive(pid), "the end of the supervisor")
    assert not machine.layout.current("flow").exists()
    assert not machine.layout.pending("flow").exists()
    assert not machine.layout.documents("flow").exists()
    assert generation(machine, 1).failure is not None


def test_who_lets_the_time_pass_loses_the_lock(machine: Machine) -> None:
    """Its connection may be cut without a word: the next one must not wait for that."""
    machine.start()
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada@laptop")
        profile = machine.profile(machine.sleeper("a")).to_json()
        client.ok(
            "activate",
            deployment="flow",
            profile=profile,
            creator="ada@laptop",
            expected=None,
            confirm_timeout=0.5,
        )
        until(lambda: deployment(machine)["current"] is None, "the way back")
        assert None is deployment(machine)["lock"]
        assert 2 == machine.activate(machine.sleeper("a"))["number"]


def test_who_comes_next_keeps_the_lock_and_what_they_planned_from(machine: Machine) -> None:
    """The trial that another one left does not end under their hands; without them, it does."""
    machine.start()
    two_generations(machine, 3.0)
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="bob@desk")
        time.sleep(3.2)
        assert 2 == deployment(machine)["current"]
        assert "bob@desk" == deployment(machine)["lock"]["owner"]
    until(lambda: deployment(machine)["current"] == 1, "the way back")


def test_a_revert_goes_back_at_once_and_needs_the_lock(machine: Machine) -> None:
    """The reason is the coordinator's."""
    machine.start()
    two_generations(machine, LONG)
    request = {"deployment": "flow", "reason": "rover failed"}
    assert "not_locked" == machine.ask("revert", **request)["code"]
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada@laptop")
        assert 1 == client.ok("revert", **request)["number"]
        assert "not_pending" == client.ask("revert", **request)["code"]
    failed = generation(machine, 2).failure
    assert failed is not None
    assert "rover failed" == failed.reason


def test_a_killed_supervisors_trial_is_gone_back_from_by_the_next(machine: Machine) -> None:
    """The deadline passed while nobody kept it: the next one goes back before anything else."""
    machine.start()
    pids = two_generations(machine, 1.0)
    machine.kill()
    time.sleep(1.2)
    machine.start()
    assert 1 == deployment(machine)["current"]
    until(lambda: set(machine.states()) == {"a", "kept"}, "the end of what came")
    assert pids["kept"] == machine.states()["kept"]["pid"]


def test_a_killed_supervisors_trial_goes_on(machine: Machine) -> None:
    """The next one keeps the deadline; it can be confirmed there."""
    machine.start()
    two_generations(machine, LONG)
    pending = deployment(machine)["pending"]
    machine.kill()
    machine.start()
    assert pending == deployment(machine)["pending"]
    assert machine.ask("confirm", deployment="flow", number=2)["ok"]
    assert "generations/2.json" == booted(machine)


def test_after_a_reboot_the_confirmed_generation_runs(machine: Machine) -> None:
    """A trial does not survive it, however much of its time is left."""
    machine.start()
    two_generations(machine, LONG)
    machine.kill()
    path = machine.layout.pending("flow")
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another"}))
    machine.start()
    assert 1 == deployment(machine)["current"]
    until(lambda: set(machine.states()) == {"a", "kept"}, "the end of what came")
    failed = generation(machine, 2).failure
    assert failed is not None
    assert "started anew" in failed.reason


def test_a_trial_after_a_trial_goes_back_behind_both(machine: Machine) -> None:
    """What was never confirmed is no place to go back to, and is marked."""
    machine.start()
    two_generations(machine, LONG)
    reply = machine.activate(machine.sleeper("c"), confirm_timeout=1.0)
    assert (3, 1) == (reply["number"], reply["previous"])
    until(lambda: deployment(machine)["current"] == 1, "the way back")
    rows = machine.ask("generations", deployment="flow")["generations"]
    assert [True, False, False] == [row["failure"] is None for row in rows]
    assert ["", "r2", ""] == [row["revision"] for row in rows]


def test_a_stop_ends_a_trial(machine: Machine) -> None:
    """Nothing comes back that somebody stopped."""
    machine.start()
    two_generations(machine, 1.0)
    machine.stop()
    time.sleep(1.2)
    machine.start()
    assert {} == machine.states()
    assert None is deployment(machine)["current"]


def test_a_generation_without_units_leaves_when_it_is_confirmed(machine: Machine) -> None:
    """Until then the one before can return."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    machine.activate(confirm_timeout=1.0)
    until(lambda: not alive(pid), "the end of the unit")
    machine.wait("a", "running")
    machine.activate(confirm_timeout=LONG)
    for _ in range(2):
        assert machine.ask("confirm", deployment="flow", number=3)["ok"]
    assert None is deployment(machine)["current"]
    until(lambda: machine.states() == {}, "the end of the unit")


def test_a_leaving_that_was_cut_off_while_it_was_confirmed_is_completed(machine: Machine) -> None:
    """Its first step was taken: the next supervisor takes the others."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    machine.wait("a", "running")
    machine.activate(confirm_timeout=LONG)
    until(lambda: machine.states() == {}, "the end of the unit")
    machine.kill()
    booted_link = machine.layout.booted("flow")
    booted_link.unlink()
    booted_link.symlink_to("generations/2.json")
    machine.start()
    assert (None, None) == (deployment(machine)["current"], deployment(machine)["pending"])


def test_a_switch_that_was_cut_off_is_undone(machine: Machine) -> None:
    """Only the note of the trial was written: the old generation runs, with its process."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    machine.kill()
    note = {"number": 2, "previous": 1, "boot_id": "", "deadline": 1e12, "wall": 1e12}
    machine.layout.pending("flow").write_text(json.dumps(note))
    machine.start()
    assert pid == machine.wait("a", "running")["pid"]
    assert (1, None) == (deployment(machine)["current"], deployment(machine)["pending"])


@pytest.mark.parametrize("value", [-1, "3", True, 1e300])
def test_a_timeout_that_makes_no_sense_is_refused(machine: Machine, value: object) -> None:
    """Nothing is changed."""
    machine.start()
    assert "bad_request" == machine.activate(machine.sleeper("a"), confirm_timeout=value)["code"]
    assert {} == machine.ask("deployments")["deployments"]


def test_old_generations_are_pruned_but_for_those_in_use(machine: Machine) -> None:
    """The newest stay, and what is current, on trial, or what a trial would go back to."""
    machine.start()
    for number in range(5):
        machine.activate(machine.sleeper("a", env={"N": str(number)}))
    machine.activate(machine.sleeper("b"), confirm_timeout=LONG)
    with machine.client() as client:
        assert "not_locked" == client.ask("prune", keep=1)["code"]
        client.ok("lock_all", owner="ada@laptop")
        assert "locked" == machine.ask("lock", deployment="flow", owner="bob@desk")["code"]
        assert {"flow": [1, 2, 3, 4]} == client.ok("prune", keep=1)["removed"]
    assert machine.ask("lock", deployment="flow", owner="bob@desk")["ok"]
    assert [5, 6] == machine.ask("generation", deployment="flow")["numbers"]


def test_a_generation_that_cannot_be_made_the_confirmed_one_changes_nothing(
    machine: Machine,
) -> None:
    """Refused is refused: what ran runs on, is current, and is not taken for a failure later."""
    pid = machine.start()
    machine.activate(machine.sleeper("a"))
    process = machine.wait("a", "running")["pid"]
    obstacle = machine.layout.deployment("flow") / f".booted.{pid}.tmp"
    obstacle.mkdir()
    assert "io" == machine.activate(machine.sleeper("b"))["code"]
    found = machine.ask("deployments")["deployments"]["flow"]
    assert (1, None) == (found["current"], found["pending"])
    assert {"a": process} == {name: it["pid"] for name, it in machine.states().items()}
    obstacle.rmdir()
    assert ["b"] == machine.activate(machine.sleeper("b"))["started"]
    past = machine.ask("generations", deployment="flow")["generations"]
    assert [None] == [it["failure"] for it in past if it["number"] == 1]


def test_a_generation_that_cannot_be_switched_to_leaves_no_trial(machine: Machine) -> None:
    """Nor is the way back blocked for good by what passes: it is gone soon after that."""
    pid = machine.start()
    machine.activate(machine.sleeper("a"))
    process = machine.wait("a", "running")["pid"]
    obstacle = machine.layout.deployment("flow") / f".current.{pid}.tmp"
    obstacle.mkdir()
    assert "io" == machine.activate(machine.sleeper("b"), confirm_timeout=60)["code"]
    obstacle.rmdir()
    until(lambda: machine.ask("deployments")["deployments"]["flow"]["pending"] is None)
    assert ["b"] == machine.activate(machine.sleeper("b"), machine.sleeper("a"))["started"]
    assert process == machine.wait("a", "running")["pid"]
    past = machine.ask("generations", deployment="flow")["generations"]
    assert [None] == [it["failure"] for it in past if it["number"] == 1]
