"""New code for one operator, on every machine that runs its node, without a deployment. Laptop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session


@dataclass(frozen=True)
class Reloaded:
    """`worked`: False if the operator goes on with the code that it has, None if its runtime did
    not answer."""

    machine: str
    worked: bool | None = None
    error: MachineError | None = None


async def reload(
    deployment: str,
    node: str,
    operator: str,
    sessions: Mapping[str, Session],
    emit: Emit = ignore,
) -> tuple[Reloaded, ...]:
    """The runtime reads the operator's file anew and goes on with it, keeping its attributes. Empty
    if no machine runs the node."""

    async def tell(machine: str) -> Reloaded | None:
        session = sessions[machine]
        try:
            await session.start_supervisor()
            status = await session.request("status", deployment=deployment)
            if node not in {unit["name"] for unit in status["units"]}:
                return None
            reply = await session.request("reload", deployment=deployment, unit=node, what=operator)
        except MachineError as error:
            emit(MachineFailed(machine, error))
            return Reloaded(machine, error=error)
        return Reloaded(machine, reply.get("reloaded"))

    having = [name for name, it in sessions.items() if deployment in it.facts.deployments]
    rows = await asyncio.gather(*map(tell, having))
    return tuple(row for row in rows if row is not None)
