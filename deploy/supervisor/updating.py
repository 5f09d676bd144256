"""What the supervisor does on request about holding updates up. Machine only; Python >= 3.8."""

from __future__ import annotations

import logging
from typing import Any, Awaitable, Callable, Dict

from deploy.supervisor.control import Request
from deploy.supervisor.locks import Locks
from deploy.supervisor.updates import Updates

log = logging.getLogger(__name__)

Answer = Dict[str, Any]
Operation = Callable[[Request, object], Awaitable[Answer]]


class Updating:
    """`table` has one operation a name; `session` is whose locks count."""

    def __init__(self, updates: Updates, locks: Locks) -> None:
        self.updates = updates
        self.locks = locks
        self.table: Dict[str, Operation] = {
            "holds": self._holds,
            "pause": self._pause,
            "resume": self._resume,
            "claim": self._claim,
            "unclaim": self._unclaim,
        }

    async def _holds(self, request: Request, session: object) -> Answer:
        return {"holds": [hold.to_json() for hold in self.updates.holds()]}

    async def _pause(self, request: Request, session: object) -> Answer:
        owner, reason = request.text("owner"), request.optional_text("reason") or ""
        log.info("updates are paused by %s", owner)
        return {"pause": self.updates.pause(owner, reason).to_json()}

    async def _resume(self, request: Request, session: object) -> Answer:
        pause = self.updates.resume()
        return {"pause": None if pause is None else pause.to_json()}

    async def _claim(self, request: Request, session: object) -> Answer:
        name = request.name("deployment")
        self.locks.check(name, session)
        self.updates.claim(name, regardless=request.flag("regardless"))
        return {}

    async def _unclaim(self, request: Request, session: object) -> Answer:
        name = request.name("deployment")
        self.locks.check(name, session)
        self.updates.release(name)
        return {}
