"""Who may change a deployment: one connection at a time. Pure; machine only; Python >= 3.8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional

from deploy.supervisor.control import Refusal


@dataclass(frozen=True)
class Lock:
    holder: object  # the connection
    owner: str  # user@laptop
    since: float  # epoch

    def to_json(self) -> Dict[str, Any]:
        return {"owner": self.owner, "since": self.since}


class Locks:
    def __init__(self) -> None:
        self._locks: Dict[str, Lock] = {}

    def get(self, deployment: str) -> Optional[Lock]:
        return self._locks.get(deployment)

    def take(self, deployment: str, holder: object, owner: str, now: float) -> None:
        """Again by the same holder is fine. Raises Refusal("locked")."""
        lock = self._locks.get(deployment)
        if lock is not None and lock.holder is not holder:
            raise Refusal(
                "locked",
                f"deployment {deployment!r} is locked by {lock.owner}",
                owner=lock.owner,
                since=lock.since,
            )
        if lock is None:
            self._locks[deployment] = Lock(holder, owner, now)

    def check(self, deployment: str, holder: object) -> None:
        """Raises Refusal("not_locked") unless `holder` has the lock."""
        lock = self._locks.get(deployment)
        if lock is None or lock.holder is not holder:
            error = f"deployment {deployment!r} is not locked by this connection"
            raise Refusal("not_locked", error)

    def release(self, deployment: str, holder: object) -> None:
        self.check(deployment, holder)
        del self._locks[deployment]

    def release_all(self, holder: object) -> None:
        """The connection has ended."""
        for name in [name for name, lock in self._locks.items() if lock.holder is holder]:
            del self._locks[name]
