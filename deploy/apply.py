"""The story of a deployment: lock, copy, switch, prove, or go back; per machine. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from deploy.errors import MachineError
from deploy.events import (
    Activated,
    Copied,
    Copying,
    Emit,
    MachineFailed,
    RolledBack,
    UnitChanged,
    ignore,
)
from deploy.plan import MachinePlan, Plan
from deploy.profile import Profile
from deploy.session import Session
from deploy.store.base import Objects
from deploy.store.path import Manifest
from deploy.store.remote import RemoteStore

STOPPING = 15.0  # seconds that what ran before may take to leave, before a unit's time runs
TRIES = 3  # restarts within one proof after which a unit counts as broken

Value = TypeVar("Value")
Outcome = Literal["unchanged", "deployed", "failed", "rolled_back"]


@dataclass(frozen=True)
class Closures:
    """What the plan's profiles need, and where the laptop has it."""

    store: Objects
    manifests: Mapping[str, tuple[Manifest, ...]]  # machine -> trees


@dataclass(frozen=True)
class Options:
    owner: str  # user@laptop, for the lock and the generation
    rollback: bool = True
    settle: float = 1.0  # seconds that a ready unit has to stay up


@dataclass
class MachineResult:
    """What became of one machine. `generation` is the one that is current there now."""

    machine: str
    outcome: Outcome
    generation: int | None = None
    bytes: int = 0
    error: MachineError | None = None
    units: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # last known states
    unhealthy: Mapping[str, str] = field(default_factory=dict)  # unit -> why


async def apply(
    plan: Plan,
    closures: Closures,
    sessions: Mapping[str, Session],
    options: Options,
    emit: Emit = ignore,
) -> tuple[MachineResult, ...]:
    """Makes the machines run what `plan` wants.

    Nothing is switched anywhere before everything is copied everywhere. A machine that fails while
    copying is left as it was, and the others go on. When a unit does not become ready, every
    machine that had switched goes back to what it ran before, unless `options.rollback` is off.
    Sessions need a running supervisor. Raises LockHeld when somebody else is deploying.
    """
    work = {row.machine: row for row in plan.machines}
    results: dict[str, MachineResult] = {}
    name = plan.deployment
    try:
        # In order of names, so that two people who start at once cannot block each other.
        for machine in sorted(work):
            await sessions[machine].request("lock", deployment=name, owner=options.owner)

        async def copy(row: MachinePlan) -> int:
            return await _copy(sessions[row.machine], row, closures, emit)

        copied = await _everywhere(work.values(), copy, results, emit)
        rows = [row for row in work.values() if row.machine in copied]

        async def switch(row: MachinePlan) -> int | None:
            return await _switch(sessions[row.machine], name, row, options, emit)

        switched = await _everywhere(rows, switch, results, emit)
        rows = [row for row in rows if row.machine in switched]

        async def prove(row: MachinePlan) -> _Proof:
            return await _prove(sessions[row.machine], name, row.wanted, options, emit)

        proofs = await _everywhere(rows, prove, results, emit)
        for row in rows:
            if proof := proofs.get(row.machine):
                results[row.machine] = MachineResult(
                    row.machine,
                    "failed" if proof.unhealthy else "unchanged" if row.up_to_date else "deployed",
                    generation=switched[row.machine],
                    bytes=copied[row.machine],
                    units=proof.states,
                    unhealthy=proof.unhealthy,
                )
        if options.rollback and any(result.unhealthy for result in results.values()):
            await _go_back(name, rows, sessions, results, options, emit)
    finally:
        for machine in work:
            try:
                await sessions[machine].request("unlock", deployment=name)
            except MachineError:
                # The lock lives as long as the channel, and that is gone.
                continue
    return tuple(results[machine] for machine in work)


async def _everywhere(
    rows: Iterable[MachinePlan],
    act: Callable[[MachinePlan], Awaitable[Value]],
    results: dict[str, MachineResult],
    emit: Emit,
) -> dict[str, Value]:
    """Acts on all machines at once; one that fails gets its result and does not stop the others."""
    rows = list(rows)
    outcomes = await asyncio.gather(*(act(row) for row in rows), return_exceptions=True)
    values = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, MachineError):
            emit(MachineFailed(row.machine, outcome))
            results[row.machine] = MachineResult(row.machine, "failed", error=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            values[row.machine] = outcome
    return values


async def _copy(session: Session, row: MachinePlan, closures: Closures, emit: Emit) -> int:
    manifests = closures.manifests.get(row.machine, ())
    if row.up_to_date or not manifests:
        return 0
    began = time.monotonic()
    sent = await RemoteStore(session.machine.id, session.open_store).send(
        closures.store,
        manifests,
        lambda done, total: emit(Copying(session.machine.id, done, total)),
    )
    emit(Copied(session.machine.id, sent, time.monotonic() - began))
    return sent


async def _switch(
    session: Session, name: str, row: MachinePlan, options: Options, emit: Emit
) -> int | None:
    if row.wanted is None:
        await session.request("stop", deployment=name)
        return None
    reply = await session.request(
        "activate",
        deployment=name,
        profile=row.wanted.to_json(),
        creator=options.owner,
        expected=row.expected,
    )
    number = int(reply["number"])
    changes = (tuple(reply.get(key, ())) for key in ("started", "restarted", "stopped", "kept"))
    emit(Activated(session.machine.id, number, *changes))
    return number


@dataclass(frozen=True)
class _Proof:
    states: Mapping[str, Mapping[str, Any]]
    unhealthy: Mapping[str, str]


async def _prove(
    session: Session, name: str, profile: Profile | None, options: Options, emit: Emit
) -> _Proof:
    """Waits until every unit is ready and has stayed so for a moment, or will not be any more."""
    if profile is None:
        return _Proof({}, {})
    began = time.monotonic()
    settled_since: float | None = None
    states: dict[str, Mapping[str, Any]] = {}
    before: dict[str, int] = {}
    while True:
        reply = await session.request("status", deployment=name)
        for state in reply["units"]:
            if states.get(state["name"], {}).get("state") != state["state"]:
                emit(UnitChanged(session.machine.id, state))
            states[state["name"]] = state
            before.setdefault(state["name"], int(state.get("restarts", 0)))
        verdicts = {unit.name: health(states.get(unit.name)) for unit in profile.units}
        unhealthy = {unit: why for unit, why in verdicts.items() if why}
        now = time.monotonic()
        late = now - began - STOPPING
        if any(
            unit.name in unhealthy
            and (hopeless(states.get(unit.name), before) or late > unit.start_timeout)
            for unit in profile.units
        ):
            return _Proof(states, unhealthy)
        if unhealthy:
            settled_since = None
        elif settled_since is None:
            settled_since = now
        if settled_since is not None and now - settled_since >= options.settle:
            return _Proof(states, {})
        await asyncio.sleep(0.05)


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


async def _go_back(
    name: str,
    rows: list[MachinePlan],
    sessions: Mapping[str, Session],
    results: dict[str, MachineResult],
    options: Options,
    emit: Emit,
) -> None:
    async def back(row: MachinePlan) -> int | None:
        session = sessions[row.machine]
        if row.up_to_date:
            return results[row.machine].generation
        previous = await session.profile(name)  # what the facts, read before, called current
        if previous is None:
            await session.request("stop", deployment=name)
            number = None
        else:
            reply = await session.request(
                "activate",
                deployment=name,
                profile=previous.to_json(),
                creator=f"{options.owner} (rollback)",
                expected=row.wanted.hash if row.wanted else None,
            )
            number = int(reply["number"])
        emit(RolledBack(row.machine, number))
        reply = await session.request("status", deployment=name)
        results[row.machine].units = {state["name"]: state for state in reply["units"]}
        return number

    reached: dict[str, MachineResult] = {}
    numbers = await _everywhere(rows, back, reached, emit)
    for machine, number in numbers.items():
        results[machine].outcome = "rolled_back"
        results[machine].generation = number
    for machine, failed in reached.items():
        results[machine].error = failed.error
