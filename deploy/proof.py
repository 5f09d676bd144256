"""Whether a machine's units are healthy: looked at until that is clear. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.events import Emit, UnitChanged
from deploy.profile import Profile
from deploy.session import Session

STOPPING = 15.0  # seconds that what ran before may take to leave, before a unit's time runs
TRIES = 3  # restarts within one proof after which a unit counts as broken
PAUSE = 0.05  # seconds between looks

States = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Proof:
    """Units' last states, and those that are not healthy, with why."""

    states: States
    unhealthy: Mapping[str, str]


async def prove(
    session: Session, profile: Profile, emit: Emit, *, settle: float, limit: float
) -> Proof:
    """Waits until every unit is ready and has stayed so for `settle` seconds, or will not be any
    more; `limit` seconds at most. A profile without units is proven when none is left.
    Raises MachineError."""
    began = time.monotonic()
    settled_since: float | None = None
    states: dict[str, Mapping[str, Any]] = {}
    before: dict[str, int] = {}
    while True:
        reply = await session.request("status", deployment=profile.deployment)
        found = {state["name"]: state for state in reply["units"]}
        for name, state in found.items():
            if states.get(name, {}).get("state") != state["state"]:
                emit(UnitChanged(session.machine.id, state))
            before.setdefault(name, int(state.get("restarts", 0)))
        states = found
        unhealthy = _unhealthy(profile, states)
        now = time.monotonic()
        late = now - began - STOPPING
        if unhealthy and (
            now - began > limit
            or any(
                hopeless(states.get(unit.name), before) or late > unit.start_timeout
                for unit in profile.units
                if unit.name in unhealthy
            )
        ):
            return Proof(states, unhealthy)
        if unhealthy:
            settled_since = None
        elif settled_since is None:
            settled_since = now
        if settled_since is not None and now - settled_since >= (settle if profile.units else 0):
            return Proof(states, {})
        await asyncio.sleep(PAUSE)


def _unhealthy(profile: Profile, states: States) -> dict[str, str]:
    if not profile.units:
        return {name: f"is {state['state']}" for name, state in states.items()}
    verdicts = {unit.name: health(states.get(unit.name)) for unit in profile.units}
    return {unit: why for unit, why in verdicts.items() if why}


def health(state: Mapping[str, Any] | None) -> str | None:
    """None when the unit is ready, or ended as it should; else why it is not healthy."""
    if state is None:
        return "was never started"
    if state["state"] == "running":
        return None
    left = state.get("exit") or {}
    if state["state"] == "ended" and left.get("code") == 0:
        return None
    how = f"exited with {left['code']}" if "code" in left else f"died of {left.get('signal')}"
    if state.get("error"):
        return str(state["error"])
    return how if left else f"is {state['state']}"


def hopeless(state: Mapping[str, Any] | None, before: Mapping[str, int]) -> bool:
    """Whether waiting longer will not help: the supervisor has given the unit up, or starts it
    again and again. `before` has each unit's restarts when we began to look."""
    if state is None:
        return False
    restarts = int(state.get("restarts", 0)) - before.get(state["name"], 0)
    return state["state"] in ("failed", "ended") or restarts >= TRIES
