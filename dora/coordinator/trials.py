"""Trials that an earlier deployment left behind, before the next one plans. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.session import Session
from dora.coordinator.deploy import owner


async def hold_trials(deployment: str, sessions: Mapping[str, Session]) -> None:
    """Locks the deployment where a generation is on trial: it stays current until we have switched,
    or let go. Else the trial might end between our plan and our switch, and the plan be stale.

    Raises LockHeld while somebody deploys, MachineError.
    """
    for machine in sorted(sessions):  # in order of names, as every deployment locks
        session = sessions[machine]
        installed = session.facts.deployments.get(deployment)
        if installed is None or installed.pending is None:
            continue
        if not session.runs_our_supervisor:
            await session.start_supervisor()
        await session.request("lock", deployment=deployment, owner=owner())
        await session.look()
