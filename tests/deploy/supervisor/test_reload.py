"""Units that take over something new while they run; by histories, as in `test_state`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from deploy.supervisor.actions import Action, AskToStop, Reload, Spawn
from deploy.supervisor.engine import Engine
from deploy.supervisor.key import Key
from deploy.supervisor.slot import State
from deploy.supervisor.state import Difference, Units
from deploy.unit import Unit
from tests.deploy.supervisor.machine import Machine
from tests.deploy.supervisor.test_foreground import eventually

KEY = Key("flow", "rt")
UNIT = Unit(
    name="rt",
    argv=("run",),
    cwd="/",
    closure=("a-code", "packages"),
    links="a-code",
    readiness="notify",
    reload="/store/trees/a-code/config",
)
OTHER = replace(
    UNIT, closure=("b-code", "packages"), links="b-code", reload="/store/trees/b-code/config"
)


def activate(units: Units, unit: Unit, now: float) -> tuple[Difference, list[Action]]:
    return units.activate("flow", 1, [unit], now)


def running() -> Units:
    units = Units()
    assert [Spawn(KEY, UNIT, 0)] == activate(units, UNIT, 0)[1]
    units.spawned(KEY, 7, 70, 0)
    units.ready(KEY, 1)
    return units


def test_what_is_taken_over_is_no_part_of_the_fingerprint() -> None:
    """All else is, also which trees there are beside it."""
    assert UNIT.fingerprint == OTHER.fingerprint
    assert UNIT.fingerprint != replace(OTHER, closure=("b-code", "others")).fingerprint
    assert UNIT.fingerprint != replace(UNIT, reload=None).fingerprint
    assert OTHER == Unit.from_json(OTHER.to_json())


def test_a_unit_takes_over_what_is_new_and_keeps_its_process() -> None:
    """It counts as ready again when it says so."""
    units = running()
    difference, actions = activate(units, OTHER, 2)
    slot = units.slots[KEY]
    assert (("rt",), [Reload(KEY, OTHER)]) == (difference.kept, actions)
    assert (State.STARTING, False, 7, OTHER) == (slot.state, slot.ready, slot.pid, slot.actual)
    assert [] == units.ready(KEY, 3)
    assert (State.RUNNING, True) == (slot.state, slot.ready)
    assert [] == activate(units, OTHER, 4)[1]


def test_a_unit_that_refuses_is_not_what_was_wanted() -> None:
    """It runs on, and is told to go back with the generation."""
    units = running()
    activate(units, OTHER, 2)
    assert [] == units.refused(KEY, 3)
    slot = units.slots[KEY]
    assert (True, True, 7) == (slot.late, "new code" in (slot.error or ""), slot.pid)
    assert [Reload(KEY, UNIT)] == activate(units, UNIT, 4)[1]
    units.ready(KEY, 5)
    assert (State.RUNNING, None) == (slot.state, slot.error)


def test_a_unit_that_does_not_answer_is_late() -> None:
    """After its start_timeout, as at its start."""
    units = running()
    activate(units, OTHER, 2)
    units.tick(2 + OTHER.start_timeout)
    assert units.slots[KEY].late


def test_a_unit_that_cannot_be_told_is_restarted() -> None:
    """As is one that is only just starting with what was wanted before."""
    units = running()
    activate(units, OTHER, 2)
    assert [AskToStop(KEY)] == units.unreachable(KEY, 2)
    starting = Units()
    activate(starting, UNIT, 0)
    starting.spawned(KEY, 7, 70, 0)
    assert [AskToStop(KEY)] == activate(starting, OTHER, 1)[1]


def test_a_later_supervisor_tells_it_again() -> None:
    """Nobody knows whether the one before did, and whether it was heard."""
    units = running()
    activate(units, OTHER, 2)
    slot = units.slots[KEY]
    later = Units()
    assert [Reload(KEY, OTHER)] == later.restore([slot], 3, unheard={KEY})


def test_a_refusal_of_one_that_is_ready_changes_nothing() -> None:
    """It was asked by hand, and is what is wanted."""
    units = running()
    units.refused(KEY, 2)
    assert (State.RUNNING, False) == (units.slots[KEY].state, units.slots[KEY].late)


LISTENS = """
import os, socket, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
pipe = os.open(os.environ["DEPLOY_CONTROL"], os.O_RDWR)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
told = b""
while told.count(b"reload") < 2:
    told += os.read(pipe, 100)
print("told", flush=True)
os.read(pipe, 100)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


async def test_who_gives_up_waiting_does_not_keep_the_answer_from_others(machine: Machine) -> None:
    """Two ask for the same; one of them does not wait for it."""
    machine.layout.prepare()
    engine = Engine(machine.layout, mortal=True)
    try:
        engine.activate("flow", 1, [machine.unit("rt", LISTENS, readiness="notify")])
        await eventually(lambda: bool(engine.states()[0]["ready"]))
        key = Key("flow", "rt")
        impatient, patient = (asyncio.create_task(engine.reload(key, "what")) for _ in range(2))
        await eventually(lambda: machine.log("rt") == "told\n")
        impatient.cancel()
        await asyncio.wait({impatient})
        machine.layout.control(*key).write_text("answer\n")
        assert await asyncio.wait_for(patient, 20) is True
        engine.kill()
        await engine.stop("flow")
    finally:
        engine.leave()
