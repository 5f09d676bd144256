"""Cores of several deployments on one machine: who is refused, who has to move, what runs where."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.supervisor.pinning import Clash, clashes, cores_of, moved, pinned
from deploy.unit import EXCLUSIVE, NAMED, SHARED, Unit
from tests.deploy.supervisor.machine import Machine, until

THREADS = """
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
time.sleep(1000)
"""


def unit(name: str, *cores: int, pin: str = EXCLUSIVE) -> Unit:
    return Unit(name=name, argv=("true",), cwd="/", cores=cores, pin=pin if cores else SHARED)


def masks(pid: int) -> list[set[int]]:
    """Of all threads of a process."""
    return [os.sched_getaffinity(int(it.name)) for it in Path(f"/proc/{pid}/task").iterdir()]


def test_exclusive_cores_clash_with_all_that_is_pinned_there() -> None:
    """With exclusive and named ones of the same and of other deployments; not with what shares."""
    others = {
        "lidar": [unit("scan", 2, 3), unit("log", 0, 1, 2, 3, pin=SHARED)],
        "arm": [unit("move", 1, pin=NAMED)],
    }
    assert [] == clashes([unit("a", 0), unit("b", 1, pin=NAMED)], others)
    assert [Clash("a", "lidar", "scan", (3,))] == clashes([unit("a", 3, 4)], others)
    assert [Clash("a", "arm", "move", (1,))] == clashes([unit("a", 1)], others)
    assert [Clash("a", "lidar", "scan", (2,))] == clashes([unit("a", 2, pin=NAMED)], others)
    assert [Clash("a", "", "b", (5,))] == clashes([unit("a", 5), unit("b", 5, pin=NAMED)], {})
    assert "a is to be pinned to 2,3, and so is scan of lidar" == str(
        clashes([unit("a", 2, 3)], others)[0]
    )


def test_who_is_not_pinned_has_what_is_left() -> None:
    """Of all cores, or of those that it may use; all of them where nothing would be left."""
    taken = pinned([unit("a", 2), unit("b", 3, pin=NAMED), unit("c", 0, 1, pin=SHARED)])
    here = frozenset(range(4))
    assert {2, 3} == taken
    assert (2,) == cores_of(unit("a", 2), taken, here)
    assert (0, 1) == cores_of(unit("c"), taken, here)
    assert (1,) == cores_of(unit("c", 1, 2, pin=SHARED), taken, here)
    assert (2, 3) == cores_of(unit("c", 2, 3, pin=SHARED), taken, here)
    assert () == cores_of(unit("c"), frozenset(), here)
    assert () == cores_of(unit("c"), here, here)


def test_a_thread_that_chose_its_cores_keeps_them_if_it_may() -> None:
    """What the unit was given is changed; a choice of its own only as far as it must be."""
    given, wanted = frozenset(range(4)), frozenset({0, 1})
    before = {1: given, 2: frozenset({1}), 3: frozenset({1, 2}), 4: frozenset({3})}

    assert {1: wanted, 3: frozenset({1}), 4: wanted} == moved(before, given, wanted)
    assert {1: given} == moved({1: wanted, 2: frozenset({1})}, wanted, given)


def test_a_pinned_unit_drives_the_others_off_its_core_and_back(machine: Machine) -> None:
    """Units of other deployments that run move with all threads and keep their pids; what starts
    later starts there; when the pinned one has gone, they may run everywhere again."""
    cores = sorted(os.sched_getaffinity(0))
    alone, rest = cores[-1], set(cores[:-1])
    machine.start()
    machine.activate(machine.unit("a", THREADS), deployment="one")
    pid = machine.wait("a", "running", "one")["pid"]
    until(lambda: [set(cores)] * 2 == masks(pid), "two threads")

    machine.activate(machine.sleeper("b", cores=(alone,), pin=EXCLUSIVE), machine.sleeper("c"))
    until(lambda: machine.states()["b"]["cores"] == [alone], "the pinning")
    until(lambda: machine.states()["c"]["cores"] == sorted(rest), "the rest")
    assert [rest] * 2 == masks(pid)
    assert sorted(rest) == machine.states("one")["a"]["cores"]

    machine.kill()
    machine.start()  # the next one knows who has what
    assert [rest] * 2 == masks(pid)
    machine.stop()
    until(lambda: [set(cores)] * 2 == masks(pid), "the way back")
    assert pid == machine.states("one")["a"]["pid"]


def test_cores_that_another_deployment_has_are_refused(machine: Machine) -> None:
    """Two laptops chose the same core: the second is told who has it, and nothing changes. What a
    deployment may have to go back to is its own still."""
    machine.start()
    mine = machine.sleeper("b", cores=(0,), pin=EXCLUSIVE)
    assert machine.activate(machine.sleeper("a", cores=(0,), pin=EXCLUSIVE), deployment="one")["ok"]
    reply = machine.activate(mine)
    assert (False, "cores_taken") == (reply["ok"], reply["code"])
    assert "b is to be pinned to 0, and so is a of one" == reply["error"]
    assert [{"unit": "b", "deployment": "one", "other": "a", "cores": [0]}] == reply["clashes"]
    assert {} == machine.states()

    assert machine.activate(machine.sleeper("a"), deployment="one", confirm_timeout=60)["ok"]
    assert "cores_taken" == machine.activate(mine)["code"]
    with machine.client() as client:
        client.ok("confirm", deployment="one", number=2)
    assert machine.activate(mine)["ok"]


def test_a_profile_that_gives_a_core_away_twice_is_no_profile(machine: Machine) -> None:
    """Nobody who plans with the same rules sends it."""
    machine.start()
    units = [machine.sleeper(name, cores=(0,), pin=EXCLUSIVE) for name in ("a", "b")]
    assert "bad_request" == machine.activate(*units)["code"]


def test_the_probe_tells_who_is_pinned(machine: Machine) -> None:
    """So that the next deployment takes other cores."""
    machine.start()
    machine.activate(machine.sleeper("a", cores=(0,), pin=EXCLUSIVE), machine.sleeper("b"))
    expected = {"flow": {"a": {"cores": [0], "pin": "exclusive"}}}
    assert expected == machine.ask("facts")["pinned"]
    machine.stop()
    machine.start()
    assert {} == machine.ask("facts")["pinned"]
