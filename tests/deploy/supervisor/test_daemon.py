"""The supervisor as a real process with real units: what it promises to those who deploy."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import agent
from deploy.supervisor.launch import agent_command
from deploy.unit import RestartPolicy, StopPolicy
from tests.deploy.supervisor.machine import POLITE, PYTHON, READY, Machine, alive, until, variable

ALWAYS = RestartPolicy(when="always")


def test_it_starts_detached_once_and_leaves_when_there_is_nothing_to_do(machine: Machine) -> None:
    """Two starts give one supervisor, in a session of its own; stopping all leaves nothing."""
    first = machine.start()
    assert first == machine.start()
    assert os.getsid(first) != os.getsid(0)
    machine.activate(machine.sleeper("a"))
    assert {"a"} == set(machine.states())
    assert ["a"] == machine.stop()["stopped"]
    until(lambda: not alive(first), "the supervisor's end")
    until(lambda: not machine.layout.run.exists(), "an empty run")
    assert not machine.layout.documents("flow").exists()
    assert machine.layout.generations("flow").joinpath("1.json").exists()


def test_what_it_needs_in_run_is_not_cleaned_up(machine: Machine) -> None:
    """A supervisor holds the folder, also once it was replaced in place, as systemd-tmpfiles leaves
    locked folders of /tmp alone; the next one can have it."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    folder = os.open(machine.layout.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in (2, 3):
            with pytest.raises(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert machine.ask("upgrade", agent=machine.ask("hello")["agent"])["ok"]
            until(lambda n=number: machine.supervisor_log().count("is up (pid") == n, "the next")
        machine.kill()
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(folder)


def test_it_is_forked_but_looks_as_if_it_had_been_started(machine: Machine) -> None:
    """Its command line, folder and files are those of a supervisor, not of what came over SSH."""
    process = Path(f"/proc/{machine.start()}")
    shown = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    argv = agent_command(machine.layout, agent.bundle().hash, PYTHON)
    assert [os.fsencode(word) for word in (*argv, "supervise")] == shown
    assert "/" == os.readlink(process / "cwd")
    log = str(machine.layout.supervisor_log)
    files = open_files(process)
    assert ["/dev/null", log, log] == [files.pop(name) for name in ("0", "1", "2")]
    assert [] == [it for it in files.values() if it.startswith("pipe:")]


def open_files(process: Path) -> dict[str, str]:
    """Descriptor -> what it leads to."""
    found = {}
    for name in os.listdir(process / "fd"):
        try:
            found[name] = os.readlink(process / "fd" / name)
        except FileNotFoundError:
            continue  # closed meanwhile: the connection of who asked for its pid
    return found


def test_there_may_be_more_units_than_open_files_at_first(machine: Machine) -> None:
    """What a login allows softly is no limit of the supervisor's."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        machine.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    names = [f"unit-{number}" for number in range(40)]
    machine.activate(*(machine.sleeper(name) for name in names))
    for name in names:
        machine.wait(name, "running")


def test_a_supervisor_that_was_just_found_waits_for_work(machine: Machine) -> None:
    """`start` answers for one that had nothing to do any more: it is still there afterwards."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    machine.stop()
    pid = machine.start()
    time.sleep(1)
    assert pid == machine.ask("hello")["pid"]


def test_a_second_activation_keeps_unchanged_processes(machine: Machine) -> None:
    """Units whose settings did not change keep their pid; a changed one restarts alone."""
    machine.start()
    a, b = machine.sleeper("a"), machine.sleeper("b")
    assert ["a", "b"] == machine.activate(a, b)["started"]
    before = {name: machine.wait(name, "running")["pid"] for name in ("a", "b")}
    changed = machine.sleeper("b", env={"NEW": "1"})
    reply = machine.activate(a, changed)
    assert (2, ["b"], ["a"]) == (reply["number"], reply["restarted"], reply["kept"])
    until(lambda: machine.states()["b"]["pid"] not in (None, before["b"]))
    machine.wait("b", "running")
    assert before["a"] == machine.states()["a"]["pid"]
    assert [machine.states()["b"]["pid"]] == machine.processes("b")
    assert [2, 2] == [machine.states()[name]["generation"] for name in ("a", "b")]


def test_the_same_profile_again_changes_nothing(machine: Machine) -> None:
    """No new generation, no restart."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    before = machine.wait("a", "running")
    reply = machine.activate(machine.sleeper("a"))
    assert (1, ["a"], []) == (reply["number"], reply["kept"], reply["started"])
    assert before == machine.states()["a"]


def test_sigterm_ends_the_supervisor_alone(machine: Machine) -> None:
    """Units never end with it, whatever the signal."""
    supervisor = machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    os.kill(supervisor, signal.SIGTERM)
    until(lambda: not alive(supervisor))
    assert alive(pid)
    assert not machine.layout.socket.exists()
    machine.start()
    assert pid == machine.states()["a"]["pid"]


def test_a_polite_unit_is_asked_and_a_deaf_one_is_signalled(machine: Machine) -> None:
    """The ladder: the line `stop`, SIGTERM, SIGKILL; who does not listen gets SIGTERM at once."""
    machine.start()
    deaf = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: print("termed", flush=True))
print("up", flush=True)
while True:
    time.sleep(100)
"""
    machine.activate(
        machine.unit("polite", POLITE),
        machine.unit("deaf", deaf, stop=StopPolicy(term_after=1000, kill_after=0.2)),
    )
    until(lambda: "up" in machine.log("polite") and "up" in machine.log("deaf"))
    pids = [state["pid"] for state in machine.states().values()]
    machine.stop()
    assert [False, False] == [alive(pid) for pid in pids]
    assert "told b'stop\\n'" in machine.log("polite")
    assert "termed" in machine.log("deaf")


def test_what_a_unit_left_behind_ends_with_it(machine: Machine) -> None:
    """Members of an ended unit's process group are killed."""
    machine.start()
    script = """
import os, time
child = os.fork()
if child == 0:
    time.sleep(1000)
print(child, flush=True)
"""
    machine.activate(machine.unit("a", script))
    machine.wait("a", "ended")
    child = int(machine.log("a"))
    until(lambda: not alive(child), "the end of the child")


def test_starts_follow_the_order_and_wait_for_readiness(machine: Machine) -> None:
    """A unit of a higher order starts when those before it said READY=1."""
    machine.start()
    gate = machine.folder / "gate"
    router = (
        READY
        + f"""
import time
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
ready()
time.sleep(1000)
"""
    )
    machine.activate(
        machine.sleeper("node", order=1), machine.unit("router", router, readiness="notify")
    )
    machine.wait("router", "starting")
    assert "waiting" == machine.states()["node"]["state"]
    gate.touch()
    machine.wait("node", "running")
    assert machine.states()["router"]["ready"] is True


def test_cores_are_pinned_and_read_back(machine: Machine) -> None:
    """A unit runs on the cores that it names; a core that is not there is its own failure."""
    machine.start()
    machine.activate(machine.sleeper("a", cores=(0,)), machine.sleeper("b", cores=(0, 4000)))
    until(lambda: machine.states()["a"]["cores"] == [0], "the pinning")
    assert "4000" in machine.wait("b", "backoff")["error"]
    machine.activate(machine.sleeper("b", cores=(4000,), restart=RestartPolicy()))
    assert "4000" in machine.wait("b", "failed")["error"]


def test_a_program_that_is_missing_is_the_units_failure(machine: Machine) -> None:
    """Its record says which; the supervisor goes on."""
    machine.start()
    unit = machine.unit("a", "")
    missing = type(unit)(name="a", argv=("no-such-program",), cwd=unit.cwd)
    machine.activate(missing, machine.sleeper("b"))
    assert "no-such-program" in machine.wait("a", "failed")["error"]
    machine.wait("b", "running")


def test_a_crashing_unit_is_given_up_after_its_restarts(machine: Machine) -> None:
    """The record tells the exit, the restarts and that it was given up."""
    machine.start()
    policy = RestartPolicy(when="on-failure", max_restarts=2)
    machine.activate(machine.unit("a", "raise SystemExit(3)", restart=policy))
    failed = machine.wait("a", "failed")
    assert ({"code": 3}, 2) == (failed["exit"], failed["restarts"])
    assert "given up after 2 restarts" in failed["error"]


def test_a_failed_units_record_has_its_last_lines(machine: Machine) -> None:
    """Twenty at most; a unit that ended as it should has none."""
    machine.start()
    script = "for number in range(30): print('line', number)\nraise SystemExit('no camera')"
    machine.activate(machine.unit("a", script), machine.unit("b", "print('fine')"))
    expected = [f"line {number}" for number in range(11, 30)] + ["no camera"]
    assert expected == machine.wait("a", "failed")["last_lines"]
    assert [] == machine.wait("b", "ended")["last_lines"]


def test_a_unit_that_hangs_is_killed_by_its_watchdog(machine: Machine) -> None:
    """One that shows that it lives is left alone; one that is deaf to SIGABRT gets SIGKILL."""
    machine.start()
    beats = (
        READY
        + """
import signal, sys, time
if sys.argv[1:] == ["deaf"]:
    signal.signal(signal.SIGABRT, signal.SIG_IGN)
print(os.environ["WATCHDOG_USEC"], flush=True)
ready()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for number in range(35):
    notify.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
    time.sleep(0.1)
print("silent", flush=True)
time.sleep(1000)
"""
    )
    hung = machine.unit("hung", beats, watchdog=3, readiness="notify")
    deaf = machine.unit("deaf", beats, watchdog=3, stop=StopPolicy(kill_after=0.2))
    machine.activate(hung, replace(deaf, argv=(*deaf.argv, "deaf")))
    for name, how in (("hung", "SIGABRT"), ("deaf", "SIGKILL")):
        record = machine.wait(name, "failed")
        assert {"signal": how, "reason": "watchdog"} == record["exit"]
        assert f"ended by {how} (watchdog)" == record["error"]
        assert ["3000000", "silent"] == record["last_lines"]


def test_a_unit_sees_a_clean_environment_and_its_own_folder(machine: Machine) -> None:
    """HOME, PATH, LANG, USER, its own variables and the supervisor's; nothing else."""
    machine.start()
    script = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    machine.activate(machine.unit("a", script, env={"MINE": "1"}))
    machine.wait("a", "ended")
    environment, cwd = json.loads(machine.log("a"))
    environment.pop("LC_CTYPE", None)  # Python's own
    deploy = {name for name in environment if name.startswith("DEPLOY_")}
    assert {"HOME", "PATH", "LANG", "USER", "MINE", "NOTIFY_SOCKET", *deploy} == set(environment)
    assert ("a", "0") == (environment["DEPLOY_UNIT"], environment["DEPLOY_RESTARTS"])
    assert str(machine.layout.state("flow", "a")) == cwd
    assert 0o700 == Path(cwd).stat().st_mode & 0o777


def test_a_tree_is_linked_into_the_folder_and_relinked_with_a_new_one(machine: Machine) -> None:
    """Links into the store follow the unit; what the unit wrote itself stays."""
    machine.start()
    trees = []
    for number, files in enumerate((("one", "same"), ("two", "same"))):
        name = f"{number:040x}-code"
        machine.layout.tree(name).mkdir(parents=True)
        for file in files:
            machine.layout.tree(name).joinpath(file).write_text(str(number))
        trees.append(name)
    cwd = machine.layout.state("flow", "a")
    for number, tree in enumerate(trees):
        machine.activate(machine.sleeper("a", closure=(tree,), links=tree))
        until(lambda n=number: generation_that_runs(machine, "a") == n + 1, "the links")
        assert str(number) == (cwd / "same").read_text()
        (cwd / "own").write_text("mine")
    assert {"two", "same", "own"} == {path.name for path in cwd.iterdir()}
    assert "mine" == (cwd / "own").read_text()


def generation_that_runs(machine: Machine, unit: str) -> int | None:
    """Of which the unit has a process, which found all that was made for it."""
    state = machine.states()[unit]
    return state["generation"] if state["state"] == "running" else None


def test_missing_store_paths_stale_plans_and_locks_are_refused(machine: Machine) -> None:
    """Each refusal names its reason, and nothing was changed."""
    machine.start()
    missing = "a" * 40 + "-code"
    reply = machine.activate(machine.sleeper("a", closure=(missing,)))
    assert ("missing_paths", [missing]) == (reply["code"], reply["paths"])
    machine.activate(machine.sleeper("a"))
    stale = machine.activate(machine.sleeper("b"), expected=None)
    assert "stale" == stale["code"]
    profile = machine.profile(machine.sleeper("a")).to_json()
    fields = {"deployment": "flow", "profile": profile, "creator": "x", "expected": None}
    assert "not_locked" == machine.ask("activate", **fields)["code"]
    assert "not_locked" == machine.ask("stop", deployment="flow")["code"]
    assert 1 == machine.ask("generation", deployment="flow")["generation"]["number"]
    assert {"a"} == set(machine.states())


def test_the_second_of_two_who_deploy_is_told_who_holds_the_lock(machine: Machine) -> None:
    """A lock lives as long as its connection."""
    machine.start()
    with machine.client() as ada, machine.client() as bob:
        ada.ok("lock", deployment="flow", owner="ada@one")
        ada.ok("lock", deployment="flow", owner="ada@one")
        refused = bob.ask("lock", deployment="flow", owner="bob@two")
        assert ("locked", "ada@one") == (refused["code"], refused["owner"])
        assert abs(time.time() - refused["since"]) < 60
        assert "not_locked" == bob.ask("unlock", deployment="flow")["code"]
        bob.ok("lock", deployment="other", owner="bob@two")
        ada.close()
        until(lambda: bob.ask("lock", deployment="flow", owner="bob@two")["ok"], "the lock")


def test_a_restart_by_hand_is_a_new_process_that_knows(machine: Machine) -> None:
    """DEPLOY_RESTARTS counts it; an unknown unit is refused."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    pid = machine.wait("a", "running")["pid"]
    assert machine.ask("restart", deployment="flow", unit="a")["ok"] is True
    until(lambda: machine.states()["a"]["pid"] not in (None, pid))
    assert "1" == variable(machine.wait("a", "running")["pid"], "DEPLOY_RESTARTS")
    assert "unknown" == machine.ask("restart", deployment="flow", unit="nobody")["code"]


def test_documents_change_without_a_restart(machine: Machine) -> None:
    """They are written beside the generation, old ones removed."""
    machine.start()
    unit = machine.sleeper("a")
    pids, documents = [], machine.layout.documents("flow")
    for text in ({"one.json": "1", "two.json": "2"}, {"two.json": "3"}):
        profile = {**machine.profile(unit).to_json(), "documents": text}
        machine.activate(profile=profile)
        pids.append(machine.wait("a", "running")["pid"])
        assert text == {path.name: path.read_text() for path in documents.iterdir()}
    assert pids[0] == pids[1]


def test_two_deployments_do_not_touch_each_other(machine: Machine) -> None:
    """Stopping one leaves the other, and the supervisor, running."""
    machine.start()
    machine.activate(machine.sleeper("a"), deployment="one")
    machine.activate(machine.sleeper("a"), deployment="two")
    pid = machine.wait("a", "running", deployment="two")["pid"]
    machine.stop("one")
    assert {} == machine.states("one")
    assert pid == machine.states("two")["a"]["pid"]
    summary = machine.ask("deployments")["deployments"]
    assert {"one": None, "two": 1} == {name: entry["current"] for name, entry in summary.items()}
