"""Stopping a deployment on every machine that has it. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import MachineError, UpdatesHeld
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session
from dora.coordinator.deploy import owner


@dataclass(frozen=True)
class Stopped:
    machine: str
    units: tuple[str, ...] = ()
    error: MachineError | None = None


async def stop(
    name: str, sessions: Mapping[str, Session], *, force: bool = False, emit: Emit = ignore
) -> tuple[Stopped, ...]:
    """Ends all units of deployment `name`; machines that do not run it are left out.

    While updates are held up on one of them, nothing is stopped on any, unless `force`. State, logs
    and generations are kept. A machine that cannot be stopped (LockHeld while somebody deploys)
    does not keep the others from it."""

    async def claim(machine: str) -> None:
        session = sessions[machine]
        await session.start_supervisor()
        await session.request("lock", deployment=name, owner=owner())
        await session.request("claim", deployment=name, regardless=force)

    async def end(machine: str, claimed: BaseException | None) -> Stopped:
        try:
            if claimed is not None:
                raise claimed
            if holding:
                raise MachineError(machine, f"not stopped: {holding}")
            reply = await sessions[machine].request("stop", deployment=name)
        except MachineError as error:
            emit(MachineFailed(machine, error))
            return Stopped(machine, error=error)
        return Stopped(machine, tuple(reply.get("stopped", ())))

    having = [
        machine
        for machine, session in sessions.items()
        if (installed := session.facts.deployments.get(name)) and installed.current is not None
    ]
    claims = await asyncio.gather(*(claim(machine) for machine in having), return_exceptions=True)
    holding = next((str(it) for it in claims if isinstance(it, UpdatesHeld)), None)
    return tuple(await asyncio.gather(*map(end, having, claims)))
