"""When an ended process comes back: the policy, pure. Machine only; Python >= 3.8."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Mapping, Optional, Union

from deploy.unit import RestartPolicy

SHORTEST_DELAY = 0.1  # seconds, from the second restart in a row: a broken unit must not eat a core


@dataclass(frozen=True)
class Exit:
    """How a process ended: an exit code, a signal's name, or neither when nobody could see it.

    `reason` is why it was killed: `watchdog`, because that had expired; `memory`, because it `used`
    more bytes than its `limit`; `oom`, by the kernel, because the machine had no memory left.
    """

    code: Optional[int] = None
    signal: Optional[str] = None
    reason: Optional[str] = None
    used: Optional[int] = None
    limit: Optional[int] = None

    @property
    def clean(self) -> bool:
        return self.code == 0 and self.reason is None

    @property
    def known(self) -> bool:
        return self.code is not None or self.signal is not None or self.reason is not None

    def __str__(self) -> str:
        return self._how if self.reason is None else f"{self._how} ({self._why})"

    @property
    def _why(self) -> str:
        if self.reason == "oom":
            return "out of memory: the machine had none left"
        if self.reason != "memory" or self.limit is None:
            return str(self.reason)
        used = "" if self.used is None else f"{mebibytes(self.used)} used, "
        return f"memory: {used}{mebibytes(self.limit)} allowed"

    @property
    def _how(self) -> str:
        if self.signal is not None:
            return f"ended by {self.signal}"
        if self.code is not None:
            return f"exited with code {self.code}"
        return "ended while no supervisor was its parent; its exit code is unknown"

    @classmethod
    def from_returncode(cls, returncode: int) -> Exit:
        """From subprocess's convention: a signal's negative number."""
        if returncode >= 0:
            return cls(code=returncode)
        try:
            return cls(signal=signal.Signals(-returncode).name)
        except ValueError:  # real-time signals between SIGRTMIN and SIGRTMAX have no names
            return cls(signal=f"SIG{-returncode}")

    def to_json(self) -> Optional[Dict[str, Any]]:
        return {name: value for name, value in asdict(self).items() if value is not None} or None

    @classmethod
    def from_json(cls, data: Optional[Mapping[str, Any]]) -> Exit:
        data = data or {}
        return cls(**{field.name: data.get(field.name) for field in fields(cls)})


def mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


@dataclass(frozen=True)
class Again:
    """Start it anew after `delay` seconds; `attempts` is what to pass to the next `decide`."""

    delay: float
    attempts: int


@dataclass(frozen=True)
class Enough:
    """It stays ended. `error` is None when that is as it should be."""

    error: Optional[str]


def returns_after(policy: RestartPolicy, attempts: int) -> Optional[float]:
    """How long a process must live, after `attempts` restarts, to be started again if it fails then
    (seconds); None if it never is."""
    if policy.when == "never":
        return None
    if policy.max_restarts == 0 or attempts < policy.max_restarts:
        return 0.0
    return policy.window if policy.window > 0 else None


def decide(
    policy: RestartPolicy, exit: Exit, *, attempts: int, lived: float
) -> Union[Again, Enough]:
    """What follows the end of a process that lived `lived` seconds after `attempts` restarts.

    An unknown exit counts as a failure: a start too many is better than a node that is missing.
    """
    if policy.when == "never" or (policy.when == "on-failure" and exit.clean):
        return Enough(None if exit.clean else str(exit))
    if policy.window > 0 and lived >= policy.window:
        attempts = 0
    if policy.max_restarts > 0 and attempts >= policy.max_restarts:
        return Enough(f"{exit}; given up after {attempts} restarts")
    delay = policy.delay
    if policy.max_delay > policy.delay:
        # 2**60 seconds is beyond any limit, and keeps the number a float for ever
        delay = min(policy.max_delay, policy.delay * 2.0 ** min(attempts, 60))
    if attempts > 0:
        delay = max(delay, SHORTEST_DELAY)
    return Again(delay, attempts + 1)
