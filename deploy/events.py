"""What happens while `deploy` works, as typed events; renderers show them. Laptop only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import MachineError, UpdatesHeld


@dataclass(frozen=True)
class Connected:
    machine: str
    seconds: float


@dataclass(frozen=True)
class Unreachable:
    machine: str
    error: MachineError


@dataclass(frozen=True)
class Measuring:
    """What runs is watched for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Building:
    """Closures are being made on the laptop; `what` names the part under way."""

    what: str


@dataclass(frozen=True)
class Copying:
    """`done` of `total` bytes are on the machine."""

    machine: str
    done: int
    total: int


@dataclass(frozen=True)
class Copied:
    machine: str
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """Everything is copied; somebody holds updates of the machine up (see `UpdatesHeld`)."""

    machine: str
    error: UpdatesHeld


@dataclass(frozen=True)
class Activated:
    machine: str
    generation: int
    started: tuple[str, ...]
    restarted: tuple[str, ...]
    stopped: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class UnitChanged:
    """A unit's state as its supervisor reported it (`UnitState` in JSON form)."""

    machine: str
    state: Mapping[str, Any]


@dataclass(frozen=True)
class RolledBack:
    """`generation` runs again; None: nothing runs, as before the first deployment. `failed` is what
    was gone back from."""

    machine: str
    generation: int | None
    failed: int | None
    reason: str


@dataclass(frozen=True)
class Unconfirmed:
    """The machine does not answer while a generation is on trial there: it goes back by itself at
    `back_at` (seconds since the epoch, laptop's clock)."""

    machine: str
    back_at: float


@dataclass(frozen=True)
class MachineFailed:
    machine: str
    error: MachineError


@dataclass(frozen=True)
class LinkLost:
    """Nothing is known of the machine since `since` (laptop's clock, seconds since the epoch)."""

    machine: str
    since: float
    reason: str


@dataclass(frozen=True)
class LinkBack:
    machine: str
    away: float  # seconds


Event = (
    Connected
    | Unreachable
    | Measuring
    | Building
    | Copying
    | Copied
    | Waiting
    | Activated
    | UnitChanged
    | RolledBack
    | Unconfirmed
    | MachineFailed
    | LinkLost
    | LinkBack
)
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An Emit for callers that do not care."""
