"""Stopping a deployment on every machine that has it. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session
from dora.coordinator.deploy import owner


@dataclass(frozen=True)
class Stopped:
    machine: str
    units: tuple[str, ...] = ()
    error: MachineError | None = None


async def stop(
    name: str, sessions: Mapping[str, Session], emit: Emit = ignore
) -> tuple[Stopped, ...]:
    """Ends all units of deployment `name`; machines that do not run it are left out.
    State, logs and generations are kept. Raises LockHeld while somebody deploys."""

    async def one(machine: str) -> Stopped:
        session = sessions[machine]
        try:
            await session.start_supervisor()
            await session.request("lock", deployment=name, owner=owner())
            reply = await session.request("stop", deployment=name)
        except MachineError as error:
            emit(MachineFailed(machine, error))
            return Stopped(machine, error=error)
        return Stopped(machine, tuple(reply.get("stopped", ())))

    having = [
        machine
        for machine, session in sessions.items()
        if (installed := session.facts.deployments.get(name)) and installed.current is not None
    ]
    return tuple(await asyncio.gather(*(one(machine) for machine in having)))
