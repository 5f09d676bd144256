"""Whether a machine's units are healthy: looked at until that is clear. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.events import Emit, UnitChanged
from deploy.profile import Profile
from deploy.session import Session
from deploy.unit import Unit

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
    session: Session,
    profile: Profile,
    emit: Emit,
    *,
    window: float,
    limit: float,
    on_trial: bool = False,
) -> Proof:
    """Looks until it is clear whether the units are healthy; see Prover. Raises MachineError."""
    prover = Prover(profile, window, limit, on_trial, began=time.monotonic())
    states: States = {}
    while True:
        reply = await session.request("status", deployment=profile.deployment)
        found = {state["name"]: state for state in reply["units"]}
        for name, state in found.items():
            last = states.get(name, {})
            failed = check_failed(state) and not check_failed(last)
            if last.get("state") != state["state"] or failed:
                emit(UnitChanged(session.machine.id, state))
        states = found
        proof = prover.look(states, time.monotonic())
        if proof is not None:
            return proof
        await asyncio.sleep(PAUSE)


class Prover:
    """Decides by a history of looks whether units are healthy. Pure; times in seconds.

    They are when every one is ready, has passed its health commands if it is `on_trial`, and all
    have stayed up for `window`, with the same processes. They are not when one will not be so any
    more, or `limit` is over. A profile without units is healthy when none is left.
    """

    def __init__(
        self, profile: Profile, window: float, limit: float, on_trial: bool, *, began: float
    ) -> None:
        self._profile = profile
        self._window = window if profile.units else 0.0
        self._limit = limit
        self._on_trial = on_trial
        self._began = began
        self._restarts: dict[str, int] = {}  # each unit's when we first saw it
        self._well: dict[str, Any] | None = None  # the processes that were healthy at the last look
        self._since = began

    def look(self, states: States, now: float) -> Proof | None:
        """None: look again a little later."""
        for name, state in states.items():
            self._restarts.setdefault(name, int(state.get("restarts", 0)))
        unhealthy = self._unhealthy(states)
        processes = {name: state.get("pid") for name, state in states.items()}
        moved = [name for name, pid in processes.items() if pid != (self._well or {}).get(name)]
        if unhealthy:
            self._well = None
            over = now - self._began > self._limit or self._in_vain(states, unhealthy, now)
            return Proof(states, unhealthy) if over else None
        if moved or self._well is None:
            self._well, self._since = processes, now
        if now - self._since >= self._window:
            return Proof(states, {})
        if moved and now - self._began > self._limit:  # well again, and it was not a moment ago
            why = f"does not stay up for {self._window:g} s"
            return Proof(states, dict.fromkeys(moved, why))
        return None

    def _unhealthy(self, states: States) -> dict[str, str]:
        if not self._profile.units:
            return {name: f"is {state['state']}" for name, state in states.items()}
        verdicts = {
            unit.name: health(states.get(unit.name))
            or (checked(unit, states[unit.name]) if self._on_trial else None)
            for unit in self._profile.units
        }
        return {unit: why for unit, why in verdicts.items() if why}

    def _in_vain(self, states: States, unhealthy: Mapping[str, str], now: float) -> bool:
        late = now - self._began - STOPPING
        return any(
            hopeless(states.get(unit.name), self._restarts) or late > unit.start_timeout
            for unit in self._profile.units
            if unit.name in unhealthy
        )


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


def checked(unit: Unit, state: Mapping[str, Any]) -> str | None:
    """None when a unit that is on trial has passed its health commands; else what is missing."""
    if not unit.health:
        return None
    found = state.get("health")
    if found is None:
        return "waits for its health commands"
    return None if found["state"] == "passed" else str(found["error"])


def check_failed(state: Mapping[str, Any]) -> bool:
    """Whether a unit has failed one of its health commands."""
    return bool((state.get("health") or {}).get("state") == "failed")


def last_lines(state: Mapping[str, Any]) -> Sequence[str]:
    """What a unit that is not healthy said last, as far as its record tells."""
    found = state["health"] if check_failed(state) else state
    return tuple(map(str, found.get("last_lines", ())))


def hopeless(state: Mapping[str, Any] | None, before: Mapping[str, int]) -> bool:
    """Whether waiting longer will not help: the supervisor has given the unit up, or starts it
    again and again, its start-up time is over, or it failed a health command. `before` has each
    unit's restarts when we began to look."""
    if state is None:
        return False
    # one that stops is what ran before, late or not
    if check_failed(state) or (state["state"] in ("starting", "backoff") and state.get("late")):
        return True
    restarts = int(state.get("restarts", 0)) - before.get(state["name"], 0)
    return state["state"] in ("failed", "ended") or restarts >= TRIES
