"""Units with a clock of their own, driven by hand: for tests of the state machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.supervisor.actions import Action, AskToStop, Clean, Signal, Spawn
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.supervisor.state import Units
from deploy.unit import RestartPolicy, Unit

CRASH = Exit(code=1)
FINE = Exit(code=0)
ALWAYS = RestartPolicy(when="always")


def unit(name: str, **fields: object) -> Unit:
    return replace(Unit(name=name, argv=("run",), cwd="/"), **fields)  # type: ignore[arg-type]


def key(name: str) -> Key:
    return Key("flow", name)


class History:
    """Units with a clock of their own; spawns answer with pids 1, 2, 3..."""

    def __init__(self, *units_: Unit) -> None:
        self.units = Units()
        self.now = 0.0
        self.next_pid = 1
        self.told: list[str] = []
        self.activate(*units_)

    def activate(self, *units_: Unit) -> None:
        self.perform(self.units.activate("flow", 1, units_, self.now)[1])

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                self.told.append(f"spawn {action.unit.name}")
                pid, self.next_pid = self.next_pid, self.next_pid + 1
                assert self.units.slots[action.key].pid is None, "a second copy"
                self.perform(self.units.spawned(action.key, pid, pid * 10, self.now))
            elif isinstance(action, AskToStop):
                self.told.append(f"ask {action.key.unit}")
            elif isinstance(action, Signal):
                self.told.append(f"{action.signal.name} {action.key.unit}")
            else:
                assert isinstance(action, Clean)

    def exited(self, name: str, how: Exit = FINE) -> None:
        pid = self.units.slots[key(name)].pid
        assert pid is not None
        self.perform(self.units.exited(key(name), pid, how, self.now))

    def ready(self, name: str) -> None:
        self.perform(self.units.ready(key(name), self.now))

    def deaf(self, name: str) -> None:
        self.perform(self.units.deaf(key(name), self.now))

    def stop(self) -> None:
        self.perform(self.units.stop("flow", self.now)[1])

    def wait(self, seconds: float) -> None:
        """Lets time pass, deadline by deadline."""
        end = self.now + seconds
        while True:
            deadline = self.units.next_deadline
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.perform(self.units.tick(self.now))
        self.now = end
        self.perform(self.units.tick(self.now))

    def slot(self, name: str) -> Slot:
        return self.units.slots[key(name)]

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told
