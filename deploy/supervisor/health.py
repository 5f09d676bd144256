"""Whether units on trial pass their health commands: the state machine, pure. Machine only; >= 3.8.

A check belongs to one start of one unit in one trial: what is started anew, or is on trial anew, is
checked anew. `Run` is answered by `ended`, `Kill` by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from deploy.supervisor.confirmation import Pending
from deploy.supervisor.key import Key
from deploy.supervisor.slot import Slot, State
from deploy.unit import HealthCommand, Unit


class Verdict(str, Enum):  # noqa: UP042 (StrEnum is Python 3.11)
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


@dataclass
class Check:
    """How far a unit's health commands are. `error` says what is missing, unless they passed."""

    trial: Pending
    born: float  # when the process was started that is judged
    unit: Unit
    position: int = 0  # of the command that runs, or that failed
    verdict: Verdict = Verdict.RUNNING
    why: Optional[str] = None
    last_lines: Tuple[str, ...] = ()  # of the output of the command that failed

    @property
    def command(self) -> HealthCommand:
        return self.unit.health[self.position]

    @property
    def error(self) -> Optional[str]:
        if self.verdict is Verdict.PASSED:
            return None
        if self.verdict is Verdict.RUNNING:
            return f"has not finished its health command `{self.command.text}`"
        return f"failed its health command `{self.command.text}`: {self.why}"

    def to_json(self) -> Dict[str, Any]:
        return {
            "state": self.verdict.value,
            "error": self.error,
            "last_lines": list(self.last_lines),
        }


@dataclass(frozen=True)
class Run:
    """Run a health command of the unit; none of it runs now."""

    key: Key
    unit: Unit
    command: HealthCommand


@dataclass(frozen=True)
class Kill:
    """End the unit's health command; nobody asks any more how it went."""

    key: Key


Action = Union[Run, Kill]


class Health:
    """The checks of all units on trial."""

    def __init__(self) -> None:
        self.checks: Dict[Key, Check] = {}

    def update(self, slots: Iterable[Slot], trials: Mapping[str, Pending]) -> List[Action]:
        """Begins and gives up checks, by what runs now and which generation of each deployment is
        on trial."""
        actions: List[Action] = []
        units = {slot.key: slot for slot in slots}
        for key, check in list(self.checks.items()):
            slot = units.get(key)
            valid = slot is not None and slot.born == check.born and slot.wanted == check.unit
            if not valid or not _up(units[key]) or trials.get(key.deployment) != check.trial:
                del self.checks[key]
                if check.verdict is Verdict.RUNNING:
                    actions.append(Kill(key))
        for deployment, trial in trials.items():
            wanted = [
                slot
                for slot in units.values()
                if slot.key.deployment == deployment and slot.wanted is not None
            ]
            if not all(_up(slot) and slot.generation == trial.number for slot in wanted):
                continue  # one may need what another does
            for slot in wanted:
                if slot.wanted is not None and slot.wanted.health and slot.key not in self.checks:
                    check = Check(trial, slot.born, slot.wanted)
                    self.checks[slot.key] = check
                    actions.append(Run(slot.key, check.unit, check.command))
        return actions

    def ended(self, key: Key, why: Optional[str], last_lines: Sequence[str] = ()) -> List[Action]:
        """The unit's command has ended. `why` it did not do, None: it did."""
        check = self.checks[key]
        if why is not None:
            check.verdict, check.why, check.last_lines = Verdict.FAILED, why, tuple(last_lines)
            return []
        if check.position + 1 == len(check.unit.health):
            check.verdict = Verdict.PASSED
            return []
        check.position += 1
        return [Run(key, check.unit, check.command)]


def _up(slot: Slot) -> bool:
    """Whether the unit is ready, or ended as it should."""
    if slot.leaving or not slot.same:
        return False
    if slot.state is State.ENDED:
        return slot.exit is not None and slot.exit.clean
    return slot.state is State.RUNNING
