"""Keeps the leases of machines, hears them by that, and has nodes moved where one is lost.

Laptop only. What is decided is in `failover`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from deploy.errors import Refused
from deploy.events import Event, UnitChanged
from deploy.leases import keep_leases
from deploy.session import Session
from dora.coordinator.deploy import owner
from dora.coordinator.failover import Failover, Place

LOOK = 0.5  # seconds between looks at what is due
IDLE = 1.0  # seconds between looks whether any node may move
CONTESTED = 5.0  # seconds until a machine is asked again whether somebody else keeps its leases


class Guard:
    """Of one deployment. `say` gets what people should know of it."""

    def __init__(self, name: str, failover: Failover, say: Callable[[str], None]) -> None:
        self._name = name
        self._failover = failover
        self._say = say
        self._said: dict[str, str] = {}

    async def keep(self, session: Session) -> None:
        """As long as the link lives. Raises MachineError when it does not any more."""
        machine, failover = session.machine.id, self._failover
        while True:
            if not failover.is_asked_for:
                await asyncio.sleep(IDLE)
                continue
            try:
                await keep_leases(
                    session,
                    self._name,
                    owner(),
                    renews=lambda: failover.is_asked_for and failover.renews(machine),
                    heard=lambda: self._heard(machine),
                )
            except Refused as refused:
                if refused.code != "leased":
                    raise
                failover.contested(machine, refused.reason, time.monotonic())
                if self._said.get(machine) != refused.reason:
                    self._said[machine] = refused.reason
                    self._say(f"{machine}: {refused.reason}: nothing is moved from here")
                await asyncio.sleep(CONTESTED)

    def _heard(self, machine: str) -> None:
        self._said.pop(machine, None)
        self._failover.heard(machine, time.monotonic())

    def emit(self, event: Event) -> None:
        if isinstance(event, UnitChanged):
            state = event.state
            why = str(state.get("error") or "")
            self._failover.told(
                event.machine,
                state["name"],
                state["state"],
                int(state.get("restarts") or 0),
                why,
                time.monotonic(),
            )

    async def watch(self, place: Callable[[Place], Awaitable[None]]) -> None:
        """Until cancelled: has nodes placed anew whenever that is to be done."""
        while True:
            await asyncio.sleep(LOOK)
            if wanted := self._failover.decide(time.monotonic(), _clock):
                self._say(f"{self._name}: {'; '.join(wanted.reasons)}")
                await place(wanted)


def _clock(moment: float) -> str:
    """When that was, by the laptop's clock."""
    then = time.time() - (time.monotonic() - moment)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
