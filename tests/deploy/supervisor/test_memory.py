"""Memory limits of units: kept by the kernel or by looking, and told as what they are."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from deploy.supervisor import cgroups
from deploy.supervisor.cgroups import Groups, delegated, hierarchy
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.rounds import Rounds
from deploy.supervisor.slot import Slot, State, Step
from deploy.supervisor.usage import Excess
from deploy.unit import RestartPolicy, Unit
from tests.deploy.supervisor.history import History, unit
from tests.deploy.supervisor.machine import Machine, until

A = Key("flow", "a")
MIB = 2**20
# Takes 200 MB after a moment, in a child if it is told so.
GREEDY = """
import os, sys, time
print("up", flush=True)
time.sleep(0.3)
if sys.argv[1:] != ["child"] or os.fork() == 0:
    data = bytearray(os.urandom(1)) * (200 * 2**20)
time.sleep(1000)
"""


def test_a_unit_that_exceeds_its_memory_is_killed_and_restarted_by_its_policy() -> None:
    """The error and the exit tell both numbers."""
    policy = RestartPolicy(when="on-failure", max_restarts=1)
    history = History(unit("a", memory=MIB, restart=policy))
    history.take()
    history.perform(history.units.exceeded(A, 3 * MIB // 2, MIB, history.now))
    assert (["SIGKILL a"], "stopping") == (history.take(), history.slot("a").state.value)
    assert [] == history.units.exceeded(A, 2 * MIB, MIB, history.now)
    history.exited("a", Exit(signal="SIGKILL"))
    history.wait(1)
    assert ["spawn a"] == history.take()
    history.perform(history.units.exceeded(A, 3 * MIB // 2, MIB, history.now))
    history.exited("a", Exit(signal="SIGKILL"))
    slot = history.slot("a")
    text = "ended by SIGKILL (memory: 1.5 MiB used, 1.0 MiB allowed); given up after 1 restarts"
    assert ("failed", text) == (slot.state.value, slot.error)
    assert slot.exit is not None
    data = {"signal": "SIGKILL", "reason": "memory", "used": 3 * MIB // 2, "limit": MIB}
    assert data == slot.exit.to_json()
    assert slot.exit == Exit.from_json(json.loads(json.dumps(data)))


def test_one_that_is_asked_to_leave_may_use_what_it_needs() -> None:
    """It goes anyway, and its end is not told as something else."""
    history = History(unit("a", memory=MIB))
    history.stop()
    assert [] == history.units.exceeded(A, 2 * MIB, MIB, history.now)


def test_a_next_supervisor_knows_for_what_a_unit_is_being_killed() -> None:
    """It ends as its policy says, not as one that was asked to leave."""
    history = History(unit("a", memory=MIB))
    history.units.exceeded(A, 2 * MIB, MIB, history.now)
    back = Slot.from_json(json.loads(json.dumps(history.slot("a").to_json())))
    assert ((2 * MIB, MIB), State.STOPPING, Step.ABORTED, False) == (
        back.excess,
        back.state,
        back.step,
        back.again,
    )


@pytest.mark.parametrize("child", [False, True])
def test_a_greedy_unit_ends_for_its_memory(machine: Machine, child: bool) -> None:
    """Its whole group, whichever process of it was greedy; status shows use and limit before."""
    machine.start()
    greedy = machine.unit("a", GREEDY, memory=100 * MIB)
    args = (*greedy.argv, "child") if child else greedy.argv
    modest = machine.unit("b", "import time; time.sleep(1000)", memory=100 * MIB)
    machine.activate(Unit.from_json({**greedy.to_json(), "argv": args}), modest)
    record = machine.wait("a", "failed")
    assert ("SIGKILL", "memory") == (record["exit"]["signal"], record["exit"]["reason"])
    assert 100 * MIB == record["exit"]["limit"] == record["memory_limit"]
    assert record["exit"]["used"] > 90 * MIB
    assert ["up"] == record["last_lines"]
    until(lambda: machine.processes("a") == [], "the end of all of it")

    def measured() -> dict[str, object] | None:
        record = machine.states()["b"]
        return record if record["cpu"] is not None else None

    other = until(measured, "figures")
    assert "running" == other["state"]
    assert MIB < int(str(other["rss"])) <= int(str(other["memory_peak"])) < 100 * MIB


async def test_a_limit_is_kept_by_looking_where_there_are_no_groups() -> None:
    """The same verdict without the kernel's help."""
    group = os.getpgrp()  # this very test uses more than 1 MiB
    slot = Slot(A, 0.0, actual=Unit("a", ("x",), "/", memory=MIB), pid=group)
    found: list[Excess] = []
    loop = asyncio.get_running_loop()
    rounds = Rounds(
        loop,
        {A: slot},
        None,
        None,
        found.append,
        loop.time,
    )
    for _ in range(600):
        await asyncio.sleep(0 if found else 0.05)
    rounds.close()
    assert (A, MIB) == (found[0].key, found[0].limit)
    assert found[0].used > MIB


async def test_a_kill_that_nobody_here_sent_is_the_kernels_if_it_says_so() -> None:
    """Only if it has killed since the last look; other ends are what they are."""
    slot = Slot(A, 0.0, actual=Unit("a", ("x",), "/"), pid=1)
    kills = [3]
    loop = asyncio.get_running_loop()
    rounds = Rounds(loop, {A: slot}, None, None, lambda _: None, loop.time, kills=lambda: kills[0])
    killed = Exit(signal="SIGKILL")
    assert killed == rounds.explain(A, killed)
    kills[0] = 4
    assert "ended by SIGKILL (out of memory: the machine had none left)" == str(
        rounds.explain(A, killed)
    )
    assert Exit(code=1) == rounds.explain(A, Exit(code=1))
    slot.step = Step.KILLED
    assert killed == rounds.explain(A, killed)
    rounds.close()


def test_limits_are_written_as_each_version_of_control_groups_has_them(tmp_path: Path) -> None:
    """In a folder that has the files of such a hierarchy, without a kernel behind it."""
    (tmp_path / "cgroup.subtree_control").write_text("cpu pids\n")
    groups = Groups(tmp_path / "dora", 2)
    assert groups.path(A) / "cgroup.procs" == groups.make(A, 5 * MIB)
    group = groups.path(A)
    assert "+memory" == (tmp_path / "cgroup.subtree_control").read_text()
    assert "+memory" == (tmp_path / "dora" / "cgroup.subtree_control").read_text()
    assert str(5 * MIB) == (group / "memory.max").read_text()
    for events, verdict in [
        ("oom 0\noom_kill 0\n", None),
        ("oom 3\noom_kill 0\n", None),
        ("oom 3\noom_kill 1\n", "memory"),
        ("oom 0\noom_kill 1\n", "oom"),
    ]:
        (group / "memory.events").write_text(events)
        assert verdict == groups.killed(A)
    assert None is groups.peak(A)
    (group / "memory.peak").write_text("77\n")
    assert 77 == groups.peak(A)
    assert not groups.has(A, 12)
    (group / "cgroup.procs").write_text("11\n12\n")
    assert groups.has(A, 12)
    old = Groups(tmp_path / "old", 1)
    old.make(A, MIB)
    assert str(MIB) == (old.path(A) / "memory.limit_in_bytes").read_text()


def test_the_hierarchy_with_the_memory_controller_is_found(tmp_path: Path) -> None:
    """Version 1's where the kernel has it there, else version 2's."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    two = f"cgroup2 {tmp_path} cgroup2 rw,nosuid 0 0\n"
    one = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    assert (tmp_path, 2) == hierarchy("proc /proc proc rw 0 0\n" + two)
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    assert (Path("/sys/fs/cgroup/memory"), 1) == hierarchy(two + one)
    assert (None, 0) == hierarchy(two)


def test_a_delegated_group_is_divided(tmp_path: Path) -> None:
    """The supervisor goes aside first; one that was not handed to us is left alone."""
    own = tmp_path / "user.slice" / "dora.service"
    own.mkdir(parents=True)
    assert None is delegated(tmp_path, "0::/user.slice/dora.service\n", "dora")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.controllers").write_text("memory pids")
    found = delegated(tmp_path, "1:name=systemd:/\n0::/user.slice/dora.service\n", "dora")
    assert found is not None
    found.make(A, MIB)
    assert (own / "supervisor" / "cgroup.procs").exists()
    again = delegated(tmp_path, "0::/user.slice/dora.service/supervisor\n", "dora")
    assert again is not None
    assert own / "dora" == again.base
    assert None is delegated(tmp_path, "4:memory:/x\n", "dora")
    assert None is cgroups.find(tmp_path, uid=1) or found.version == 2
