"""What a supervisor that died, was upgraded or rebooted leaves to the next: real processes."""

from __future__ import annotations

import json
import os
import signal
import time

from deploy.unit import RestartPolicy, StopPolicy
from tests.deploy.supervisor.machine import POLITE, READY, Machine, alive, until, variable

ALWAYS = RestartPolicy(when="always")


def test_units_outlive_a_killed_supervisor_and_the_next_adopts_them(machine: Machine) -> None:
    """After kill -9 the same process goes on, is known, and is watched again."""
    machine.start()
    machine.activate(machine.sleeper("a", restart=ALWAYS), machine.sleeper("b"))
    pids = {name: machine.wait(name, "running")["pid"] for name in ("a", "b")}
    machine.kill()
    assert [True, True] == [alive(pid) for pid in pids.values()]
    machine.start()
    assert pids == {name: state["pid"] for name, state in machine.states().items()}
    assert [pids["a"]] == machine.processes("a")
    os.kill(pids["a"], signal.SIGKILL)
    until(lambda: machine.states()["a"]["pid"] not in (None, pids["a"]), "the restart of a")
    assert 1 == machine.states()["a"]["restarts"]
    machine.stop()
    assert not alive(pids["b"])


def test_a_later_supervisor_disturbs_none_of_several_deployments(machine: Machine) -> None:
    """What runs goes on, and what has ended stays so: none is looked at before all are known."""
    machine.start()
    names = [f"flow{number}" for number in range(4)]
    for name in names:
        done = machine.unit("done", "print('done')")
        machine.activate(machine.sleeper("a"), done, deployment=name)
    pids = {name: machine.wait("a", "running", name)["pid"] for name in names}
    for name in names:
        machine.wait("done", "ended", name)
    machine.kill()
    machine.start()
    until(lambda: machine.ask("hello")["ok"], "the next supervisor")
    for name in names:
        states = machine.states(name)
        assert (pids[name], "running") == (states["a"]["pid"], states["a"]["state"])
        assert "ended" == states["done"]["state"]
        assert ["done"] == machine.log("done", name).splitlines()


def test_what_ended_while_no_supervisor_ran_comes_back(machine: Machine) -> None:
    """The restart policy holds for deaths that nobody saw."""
    machine.start()
    machine.activate(
        machine.sleeper("a", restart=ALWAYS), machine.sleeper("b", restart=RestartPolicy())
    )
    pids = {name: machine.wait(name, "running")["pid"] for name in ("a", "b")}
    machine.kill()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))
    machine.start()
    until(lambda: machine.states()["a"]["pid"] not in (None, pids["a"]), "the restart of a")
    ended = machine.wait("b", "ended")
    assert ended["exit"] is None
    assert "unknown" in ended["error"]


def test_a_lost_journal_does_not_make_a_second_copy(machine: Machine) -> None:
    """Processes are found by their environment; the journal is only a note."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    machine.kill()
    machine.layout.journal.unlink()
    machine.start()
    assert pid == machine.wait("a", "running")["pid"]
    assert [pid] == machine.processes("a")


def test_what_a_unit_left_behind_is_not_taken_for_it(machine: Machine) -> None:
    """A child in a session of its own has the unit's environment; the unit has ended, and a later
    supervisor says so, and can start it."""
    leaves = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    machine.start()
    machine.activate(machine.unit("a", leaves), machine.sleeper("b"))
    pid = machine.wait("b", "running")["pid"]
    machine.wait("a", "ended")
    machine.kill()
    machine.start()
    states = machine.states()
    assert ("ended", None) == (states["a"]["state"], states["a"]["pid"])
    assert ("running", pid) == (states["b"]["state"], states["b"]["pid"])


def test_a_generation_and_a_journal_that_cannot_be_read_stop_nothing(machine: Machine) -> None:
    """Of a newer version, or damaged: who cannot read them knows no reason to stop anything."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    machine.kill()
    machine.layout.generations("flow").joinpath("1.json").write_text("{}")
    machine.layout.journal.write_text("{}")
    machine.start()
    machine.activate(machine.sleeper("b"), deployment="other")
    machine.wait("b", "running", "other")
    units = {unit["name"]: unit for unit in machine.ask("status")["units"]}
    assert ("running", pid) == (units["a"]["state"], units["a"]["pid"])
    assert [pid] == machine.processes("a")


def test_an_upgrade_keeps_processes_their_exit_codes_and_the_supervisors_pid(
    machine: Machine,
) -> None:
    """The supervisor goes on as another agent in place; children stay children."""
    pid = machine.start()
    machine.activate(machine.sleeper("a"), machine.unit("b", POLITE + "raise SystemExit(7)"))
    a = machine.wait("a", "running")["pid"]
    until(lambda: "up" in machine.log("b"))
    digest = machine.ask("hello")["agent"]
    other = "f" * 64
    os.symlink(digest, machine.layout.agent(other))
    machine.upgrade(other)
    assert pid == machine.ask("hello")["pid"]
    assert a == machine.states()["a"]["pid"]
    with open(machine.layout.control("flow", "b"), "w") as control:
        control.write("stop\n")
    assert {"code": 7} == machine.wait("b", "failed")["exit"]
    assert pid == machine.start()
    assert digest == machine.ask("hello")["agent"]


def test_an_upgrade_to_what_does_not_run_is_refused(machine: Machine) -> None:
    """The old agent goes on."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    hello = machine.ask("hello")
    assert "upgrade_failed" == machine.ask("upgrade", agent="0" * 64)["code"]
    broken = machine.layout.agent("1" * 64)
    broken.mkdir()
    assert "upgrade_failed" == machine.ask("upgrade", agent=broken.name)["code"]
    assert hello["pid"] == machine.ask("hello")["pid"]


def test_readiness_survives_an_upgrade_of_the_supervisor(machine: Machine) -> None:
    """The notify socket is handed over: what is said meanwhile is heard."""
    machine.start()
    gate = machine.folder / "gate"
    script = (
        READY
        + f"""
import time
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
for _ in range(200):
    ready()
    time.sleep(0.01)
time.sleep(1000)
"""
    )
    machine.activate(machine.unit("a", script, readiness="notify"))
    machine.wait("a", "starting")
    other = "e" * 64
    os.symlink(machine.ask("hello")["agent"], machine.layout.agent(other))
    gate.touch()
    machine.upgrade(other)
    machine.start()
    assert 0 == machine.wait("a", "running")["restarts"]
    assert "Error" not in machine.log("a")


def test_a_unit_that_became_ready_while_no_supervisor_lived_is_asked(machine: Machine) -> None:
    """READY=1 went to nobody; what waits for it starts after all."""
    machine.start()
    gate = machine.folder / "gate"
    script = (
        READY
        + f"""
import time
pipe = os.open(os.environ["DEPLOY_CONTROL"], os.O_RDWR)
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
try:
    ready()
except OSError as error:
    print("unheard", flush=True)
while True:
    if os.read(pipe, 100) == b"status\\n":
        ready()
"""
    )
    machine.activate(
        machine.unit("a", script, readiness="notify", start_timeout=1000),
        machine.sleeper("b", order=1),
    )
    pid = machine.wait("a", "starting")["pid"]
    machine.kill()
    gate.touch()
    until(lambda: "unheard" in machine.log("a"), "the lost word")
    machine.start()
    machine.wait("b", "running")
    assert (pid, None) == (machine.wait("a", "running")["pid"], machine.states()["a"]["error"])


def test_a_stop_that_the_supervisor_did_not_survive_is_finished_by_the_next(
    machine: Machine,
) -> None:
    """What is not current any more does not come back; what still runs is stopped."""
    machine.start()
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(999)"
    )
    unit = machine.unit("a", stubborn, stop=StopPolicy(term_after=1, kill_after=4))
    machine.activate(unit)
    until(lambda: "up" in machine.log("a"))
    pid = machine.wait("a", "running")["pid"]
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada")
        client.send(op="stop", deployment="flow")
        machine.wait("a", "stopping")
        machine.kill()
    supervisor = machine.start()
    until(lambda: not alive(pid), "the end of the unit")
    until(lambda: not alive(supervisor), "the end of the supervisor")
    assert not machine.layout.run.exists()


def test_an_activation_that_the_supervisor_did_not_survive_is_whole(machine: Machine) -> None:
    """Killed at any moment, the next one runs the old generation or the new one, all of it."""
    machine.start()
    machine.activate(machine.sleeper("a", env={"V": "0"}), machine.sleeper("b", env={"V": "0"}))
    for round_ in range(1, 5):
        env = {"V": str(round_)}
        profile = machine.profile(machine.sleeper("a", env=env), machine.sleeper("b", env=env))
        with machine.client() as client:
            client.ok("lock", deployment="flow", owner="ada")
            current = client.ok("deployments")["deployments"]["flow"]["hash"]
            pid = client.ok("hello")["pid"]
            client.send(
                op="activate",
                deployment="flow",
                profile=profile.to_json(),
                creator="ada",
                expected=current,
            )
            time.sleep(0.002 * round_)
            os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))
        machine.start()
        found = machine.ask("generation", deployment="flow")["generation"]
        wanted = {u["name"]: u["env"]["V"] for u in found["profile"]["units"]}
        assert wanted["a"] == wanted["b"]

        def runs(wanted: dict[str, str] = wanted) -> bool:
            pids = {name: machine.processes(name) for name in wanted}
            assert all(len(one) <= 1 for one in pids.values()), pids
            texts = {n: variable(one[0], "V") for n, one in pids.items() if one}
            return texts == wanted

        until(runs, "the current generation")


def test_after_a_reboot_current_generations_start_afresh(machine: Machine) -> None:
    """A journal of another boot adopts nothing."""
    machine.start()
    machine.activate(machine.unit("a", "print('ran')"))
    machine.wait("a", "ended")
    machine.kill()
    journal = json.loads(machine.layout.journal.read_text())
    machine.layout.journal.write_text(json.dumps({**journal, "boot_id": "another"}))
    machine.start()
    until(lambda: machine.log("a").count("ran") == 2, "the second run")
