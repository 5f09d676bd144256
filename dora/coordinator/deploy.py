"""The coordinator's main verb: make the machines run what was prepared. Laptop only."""

from __future__ import annotations

import asyncio
import base64
import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.apply import MachineResult, Options, apply, health
from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.plan import Plan
from deploy.session import Session
from dora.compile.dataplane import AUTHORITY, CERTIFICATE, KEY
from dora.coordinator.keys import MachineKeys
from dora.coordinator.prepare import Prepared


@dataclass(frozen=True)
class Deployed:
    """What became of every machine; in the order of the inventory."""

    name: str
    machines: tuple[MachineResult, ...]

    @property
    def healthy(self) -> bool:
        return all(result.outcome in ("unchanged", "deployed") for result in self.machines)

    @property
    def rolled_back(self) -> bool:
        return any(result.outcome == "rolled_back" for result in self.machines)


def owner() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def deploy(
    prepared: Prepared,
    sessions: Mapping[str, Session],
    *,
    rollback: bool = True,
    emit: Emit = ignore,
) -> Deployed:
    """Carries the plan out; machines that are up to date and healthy are not even locked.
    Raises LockHeld, or Refused with code `stale`, when somebody else was quicker."""
    rows = {row.machine: row for row in prepared.plan.machines}
    results: dict[str, MachineResult] = {}

    async def ready(machine: str) -> MachineResult | None:
        """The result of a machine on which nothing is to be done."""
        session = sessions[machine]
        if rows[machine].wanted is None:
            return None
        if not _runs_our_supervisor(session):
            await session.start_supervisor()
        elif rows[machine].up_to_date:
            return await _already(session, prepared, machine)
        return None

    outcomes = await asyncio.gather(*(ready(machine) for machine in rows), return_exceptions=True)
    for machine, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, MachineError):
            emit(MachineFailed(machine, outcome))
            results[machine] = MachineResult(machine, "failed", error=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome is not None:
            results[machine] = outcome

    rest = tuple(row for row in prepared.plan.machines if row.machine not in results)
    if rest:
        for machine, keys in prepared.new_keys.items():
            if machine not in results:
                await _hand_over(sessions[machine], prepared.name, keys)
        options = Options(owner=owner(), rollback=rollback)
        plan = Plan(prepared.name, rest)
        for result in await apply(plan, prepared.closures, sessions, options, emit):
            results[result.machine] = result
    return Deployed(prepared.name, tuple(results[machine] for machine in rows))


def _runs_our_supervisor(session: Session) -> bool:
    from deploy import agent

    found = session.facts.supervisor
    return bool(found.get("running")) and found.get("agent") == agent.bundle().hash


async def _already(session: Session, prepared: Prepared, machine: str) -> MachineResult | None:
    reply = await session.request("status", deployment=prepared.name)
    states = {state["name"]: state for state in reply["units"]}
    if any(health(states.get(unit.name)) for unit in prepared.profiles[machine].units):
        return None
    current = session.facts.deployments[prepared.name].current
    return MachineResult(machine, "unchanged", generation=current, units=states)


async def _hand_over(session: Session, deployment: str, keys: MachineKeys) -> None:
    """Puts a machine's keys where only its user can read them; they are written nowhere else."""
    for name, text in (
        (KEY, keys.key_pem),
        (CERTIFICATE, keys.certificate_pem),
        (AUTHORITY, keys.authority_pem),
    ):
        value = base64.b64encode(text.encode()).decode()
        await session.request("secret", deployment=deployment, name=name, value=value)
