"""Real-time priorities and nice values: what is asked for, what is allowed, what the kernel says.

What gets a real-time priority here only sleeps.
"""

from __future__ import annotations

import os

from deploy.supervisor.scheduling import Allowed, allowed, prefix, shortfall
from deploy.unit import EXCLUSIVE, Realtime, Unit
from tests.deploy.supervisor.machine import Machine, until

PATH = os.environ["PATH"]
FIFO = Realtime("fifo", 5)


def unit(**fields: object) -> Unit:
    return Unit(name="a", argv=("true",), cwd="/", **fields)  # type: ignore[arg-type]


def test_only_what_is_allowed_is_asked_for() -> None:
    """A unit runs all the same; `chrt` would end instead of it."""
    asking = unit(realtime=FIFO, nice=-5)
    both = [it.rpartition("/")[2] for it in prefix(asking, Allowed(99, -20), PATH)]
    assert ["nice", "-n", "-5", "chrt", "--fifo", "5"] == both
    assert [] == prefix(asking, Allowed(0, 0), PATH)
    assert [] == prefix(unit(realtime=Realtime("rr", 50)), Allowed(49, 0), PATH)
    assert 3 == len(prefix(unit(nice=5), Allowed(0, 0), PATH))  # to be nicer is always allowed


def test_what_is_not_as_it_was_asked_for_is_told() -> None:
    """Read back from the kernel, whoever changed it."""
    plain = {"policy": "other", "priority": 0, "nice": 0}
    asking = unit(realtime=FIFO, cores=(2, 3), pin=EXCLUSIVE)

    assert None is shortfall(asking, [2, 3], {"policy": "fifo", "priority": 5, "nice": 0})
    assert "runs on cores 0,1, not on 2,3; is scheduled as other, not as fifo 5" == shortfall(
        asking, [0, 1], plain
    )
    assert "has nice 0, not -5" == shortfall(unit(nice=-5), [0], plain)
    assert None is shortfall(unit(), [0], plain)


def test_a_unit_is_scheduled_as_it_asks_or_its_state_tells(machine: Machine) -> None:
    """On a machine that allows it, the kernel has it; else the unit runs, and what it lacks is in
    its record."""
    may = allowed()
    machine.start()
    assert may._asdict() == machine.ask("facts")["scheduling"]
    machine.activate(machine.sleeper("a", realtime=FIFO), machine.sleeper("b", nice=7))
    until(lambda: machine.states()["b"]["scheduling"]["nice"] == 7, "a nice value")
    if may.realtime >= 5:
        wanted = {"policy": "fifo", "priority": 5, "nice": 0}
        until(lambda: machine.states()["a"]["scheduling"] == wanted, "a real-time priority")
        assert None is machine.states()["a"]["shortfall"]
    else:
        text = "is scheduled as other, not as fifo 5"
        until(lambda: machine.states()["a"]["shortfall"] == text, "the news that there is none")
