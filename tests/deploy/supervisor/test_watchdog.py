"""A watched unit that wants no watchdog any more."""

from __future__ import annotations

import json

from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.supervisor.state import Units
from deploy.unit import RestartPolicy
from tests.deploy.supervisor.history import History, unit

A = Key("flow", "a")


def test_a_unit_that_wants_no_watchdog_is_left_alone_until_its_next_process() -> None:
    """A later supervisor knows it, too."""
    watched = unit("a", watchdog=2, restart=RestartPolicy(when="always"))
    history = History(watched)
    history.units.unwatch(A)
    history.wait(10)
    assert ["spawn a"] == history.take()
    noted = json.loads(json.dumps(history.slot("a").to_json()))
    later = Units()
    later.restore([Slot.from_json(noted)], 100.0)
    later.activate("flow", 1, [watched], 100.0, revive=False)
    assert [] == later.tick(200.0)
    history.exited("a", Exit(code=0))
    history.wait(3)
    assert ["spawn a", "SIGABRT a"] == history.take()
