"""The coordinator's main verb: make the machines run what was prepared. Laptop only."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.apply import apply
from deploy.batches import Serial
from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.metering import serve_metrics
from deploy.plan import Plan
from deploy.profile import Profile
from deploy.proof import health
from deploy.session import Session
from deploy.survey import refuse_what_does_not_fit
from deploy.trial import WINDOW
from deploy.undertaking import Closures, MachineResult, Options
from dora.coordinator.prepare import Prepared
from dora.coordinator.revisions import new_revision


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
        """Whether some machine went back, or will by itself unless it was confirmed."""
        return any(result.outcome in ("rolled_back", "unconfirmed") for result in self.machines)


def owner() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def deploy(
    prepared: Prepared,
    sessions: Mapping[str, Session],
    *,
    rollback: bool = True,
    confirm_timeout: float | None = None,
    window: float = WINDOW,
    serial: Serial | None = None,
    wait: float = 0.0,
    regardless: bool = False,
    note: str = "",
    emit: Emit = ignore,
) -> Deployed:
    """As `carry_out`, with what the files ask for. Raises DeployError when that does not fit on
    some machine's disk; then nothing was copied to any."""
    refuse_what_does_not_fit(prepared.surveys)
    return await carry_out(
        prepared.plan,
        prepared.closures,
        sessions,
        rollback=rollback,
        confirm_timeout=confirm_timeout,
        window=window,
        serial=serial,
        wait=wait,
        regardless=regardless,
        note=note,
        emit=emit,
    )


async def carry_out(
    plan: Plan,
    closures: Closures,
    sessions: Mapping[str, Session],
    *,
    rollback: bool = True,
    confirm_timeout: float | None = None,
    window: float = WINDOW,
    serial: Serial | None = None,
    wait: float = 0.0,
    regardless: bool = False,
    note: str = "",
    emit: Emit = ignore,
) -> Deployed:
    """Makes the plan so; machines that are up to date and healthy are not even locked. The rest is
    as in `deploy.apply.Options`.
    Raises LockHeld while somebody else deploys."""
    rows = {row.machine: row for row in plan.machines}
    results: dict[str, MachineResult] = {}

    async def ready(machine: str) -> MachineResult | None:
        """The result of a machine on which nothing is to be done."""
        session = sessions[machine]
        before = session.runs_our_supervisor
        if not before:
            await session.start_supervisor()  # an older one is upgraded before anything is asked
        await serve_metrics(session)
        if before and rows[machine].up_to_date:
            return await _already(session, plan.deployment, rows[machine].wanted)
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

    rest = tuple(row for row in plan.machines if row.machine not in results)
    if rest:
        options = Options(
            owner=owner(),
            rollback=rollback,
            confirm_timeout=confirm_timeout,
            window=window,
            serial=serial,
            wait=wait,
            regardless=regardless,
            revision=new_revision(time.time(), secrets.token_hex(2), after=_newest(sessions)),
            note=note,
        )
        remaining = Plan(plan.deployment, rest)
        for result in await apply(remaining, closures, sessions, options, emit):
            results[result.machine] = result
    return Deployed(plan.deployment, tuple(results[machine] for machine in rows))


async def _already(
    session: Session, deployment: str, wanted: Profile | None
) -> MachineResult | None:
    """The result of a machine that is up to date; None when something is to be done after all."""
    installed = session.facts.deployments.get(deployment)
    if wanted is None or installed is None or installed.pending is not None:
        return None  # a trial, maybe somebody else's, has to be proven and confirmed
    reply = await session.request("status", deployment=deployment)
    states = {state["name"]: state for state in reply["units"]}
    if any(health(states.get(unit.name)) for unit in wanted.units) or reply["missing"]:
        return None
    current = installed.current
    return MachineResult(session.machine.id, "unchanged", current, previous=current, units=states)


def _newest(sessions: Mapping[str, Session]) -> str:
    """Of the revisions that are current somewhere; clocks of laptops differ."""
    found = (it.revision for one in sessions.values() for it in one.facts.deployments.values())
    return max(found, default="")
