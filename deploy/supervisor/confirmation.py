"""A generation on trial: how long it may stay without being confirmed. Pure; machine; >= 3.8.

The deadline counts the seconds since the machine was booted, so that nobody who sets its clock
moves it; after a reboot, what was on trial is gone back from, whatever the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Union

from deploy.malformed import checked

AGAIN = 0.5  # seconds between looks at a lock that keeps a trial from its end


@dataclass(frozen=True)
class Moment:
    """Now, by all clocks that matter."""

    boot_id: str
    uptime: float  # seconds since boot, those asleep too
    wall: float  # seconds since the epoch


@dataclass(frozen=True)
class Pending:
    """Generation `number` is on trial; without confirmation, `previous` (None: nothing) returns."""

    number: int
    previous: Optional[int]
    boot_id: str
    deadline: float  # seconds since boot
    wall: float  # the same as seconds since the epoch, to be shown

    def to_json(self) -> Dict[str, Any]:
        return {
            "number": self.number,
            "previous": self.previous,
            "boot_id": self.boot_id,
            "deadline": self.deadline,
            "wall": self.wall,
        }

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Pending:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        previous = data["previous"]
        return cls(
            number=int(data["number"]),
            previous=None if previous is None else int(previous),
            boot_id=str(data["boot_id"]),
            deadline=float(data["deadline"]),
            wall=float(data["wall"]),
        )


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done for so many seconds, unless somebody confirms or reverts."""

    seconds: float


@dataclass(frozen=True)
class GoBack:
    reason: str


@dataclass(frozen=True)
class Settled:
    """It was confirmed; the note of the trial is all that is left of it."""


Decision = Union[Wait, GoBack, Settled]


def begin(
    number: int, timeout: float, now: Moment, *, current: Optional[int], before: Optional[Pending]
) -> Pending:
    """The trial of a new generation. If one is on trial already (`before`), nobody has confirmed
    what is current: then the new one, too, goes back to what ran before that."""
    previous = current if before is None else before.previous
    return Pending(number, previous, now.boot_id, now.uptime + timeout, now.wall + timeout)


def decide(
    pending: Pending,
    now: Moment,
    *,
    current: Optional[int],
    booted: Optional[int],
    held: bool = False,
) -> Decision:
    """What is to be done about a trial, by what is on the disk and the time.

    A supervisor may have died between any two steps of beginning, confirming and going back. Going
    back once more is harmless, so whatever is half done is finished that way, but for a trial whose
    generation became the boot default: that is the first step of confirming.

    `held`: somebody else than who began the trial has the deployment's lock. Nobody is cut off,
    then; they have planned from what is current, and what they switch to has a trial of its own.
    """
    if booted == pending.number and current == pending.number:
        return Settled()
    if current != pending.number:
        return GoBack("it was never switched to as a whole")
    if pending.boot_id != now.boot_id:
        return GoBack("the machine was started anew before it was confirmed")
    if now.uptime >= pending.deadline:
        if held:
            return Wait(AGAIN)
        return GoBack("it was not confirmed in time")
    return Wait(pending.deadline - now.uptime)


def begins_with(
    *, current: Optional[int], booted: Optional[int], pending: bool, running: bool
) -> Optional[int]:
    """The generation to go on with where no trial decides, None: with what is current.

    They are one, but where a disk has lost the note of a trial. While anything of the deployment
    runs (`running`), that is not disturbed; what begins anew begins with what was confirmed.
    """
    if pending or running or current is None or current == booted:
        return None
    return booted
