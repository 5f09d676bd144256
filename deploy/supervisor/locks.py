"""Who may change a deployment: one connection at a time. Pure; machine only; Python >= 3.8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

from deploy.supervisor.control import Refusal


@dataclass(frozen=True)
class Lock:
    holder: object  # the connection
    owner: str  # user@laptop
    since: float  # epoch

    def to_json(self) -> Dict[str, Any]:
        return {"owner": self.owner, "since": self.since}


SILENCE = 30.0  # seconds without a word from a lock's holder after which it is nobody's
EVERYTHING = "*"  # no deployment's name


class Locks:
    """Holders show that they live by `heard`; `monotonic` is the clock for that, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._locks: Dict[str, Lock] = {}
        self._monotonic = monotonic
        self._heard: Dict[object, Optional[float]] = {}  # None: its request is being answered

    def heard(self, holder: object, *, busy: bool) -> None:
        """`holder` has said something, which is being answered while `busy`."""
        self._heard[holder] = None if busy else self._monotonic()

    def get(self, deployment: str) -> Optional[Lock]:
        lock = self._locks.get(deployment)
        if lock is not None and self._silent(lock.holder):
            del self._locks[deployment]
            return None
        return lock

    def take(self, deployment: str, holder: object, owner: str, now: float) -> None:
        """Again by the same holder is fine. Raises Refusal("locked")."""
        for name in (deployment, EVERYTHING):
            self._refuse(name, holder)
        if self.get(deployment) is None:
            self._locks[deployment] = Lock(holder, owner, now)

    def take_everything(self, holder: object, owner: str, now: float) -> None:
        """Nobody else may lock anything meanwhile. Raises Refusal("locked")."""
        for name in list(self._locks):
            self._refuse(name, holder)
        self.take(EVERYTHING, holder, owner, now)

    def check(self, deployment: str, holder: object) -> None:
        """Raises Refusal("not_locked") unless `holder` has the lock."""
        lock = self.get(deployment)
        if lock is None or lock.holder is not holder:
            error = f"deployment {deployment!r} is not locked by this connection"
            raise Refusal("not_locked", error)

    def release(self, deployment: str, holder: object) -> None:
        self.check(deployment, holder)
        del self._locks[deployment]

    def release_everything(self, holder: object) -> None:
        self.release(EVERYTHING, holder)

    def break_lock(self, deployment: str) -> Optional[Lock]:
        """Takes the lock from whoever has it; its holder is refused from now on."""
        return self._locks.pop(deployment, None)

    def release_all(self, holder: object) -> None:
        """The connection has ended."""
        self._heard.pop(holder, None)
        for name in self._held_by(holder):
            del self._locks[name]

    def _held_by(self, holder: object) -> List[str]:
        return [name for name, lock in self._locks.items() if lock.holder is holder]

    def _refuse(self, deployment: str, holder: object) -> None:
        lock = self.get(deployment)
        if lock is None or lock.holder is holder:
            return
        what = "everything" if deployment == EVERYTHING else f"deployment {deployment!r}"
        raise Refusal(
            "locked", f"{what} is locked by {lock.owner}", owner=lock.owner, since=lock.since
        )

    def _silent(self, holder: object) -> bool:
        heard = self._heard.get(holder)
        return heard is not None and self._monotonic() - heard > SILENCE
