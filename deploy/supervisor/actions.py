"""What the state machine wants done; each is answered as `state` says. Machine only; >= 3.8."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Optional, Union

from deploy.supervisor.key import Key
from deploy.unit import Unit


@dataclass(frozen=True)
class Spawn:
    """Start a process for the unit. There is none of it now. `returns`: see `returns_after`."""

    key: Key
    unit: Unit
    restarts: int
    returns: Optional[float] = None


@dataclass(frozen=True)
class AskToStop:
    """Write `stop` to the unit's control pipe."""

    key: Key


@dataclass(frozen=True)
class AskStatus:
    """Write `status` to the unit's control pipe: what it said may have been said to nobody."""

    key: Key


@dataclass(frozen=True)
class Reload:
    """Write `reload` and the unit's path to its control pipe, once its links are the unit's."""

    key: Key
    unit: Unit


@dataclass(frozen=True)
class Signal:
    """Send a signal to the process group of `pid`."""

    key: Key
    pid: int
    signal: signal.Signals


@dataclass(frozen=True)
class Clean:
    """The unit has no process: remove its control pipe and its notify socket."""

    key: Key


Action = Union[Spawn, AskToStop, AskStatus, Reload, Signal, Clean]
