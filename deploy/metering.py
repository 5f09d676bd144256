"""Has machines serve figures of their units where the inventory says so. Laptop only."""

from __future__ import annotations

from dataclasses import replace

from deploy.errors import MachineError, Refused
from deploy.session import Session


async def serve_metrics(session: Session) -> None:
    """As the inventory has it from now on; most often it is so already. The supervisor runs.

    Raises MachineError where nobody can listen there.
    """
    wanted = session.machine.metrics
    if wanted == session.facts.metrics:
        return
    bind, port = wanted or (None, None)
    try:
        await session.request("metrics", bind=bind, port=port)
    except Refused as error:
        raise MachineError(
            session.machine.id,
            f"{error.reason}; nothing was changed",
            hint="name another port in the inventory: metrics: {port: 9465}",
        ) from error
    session.facts = replace(session.facts, metrics=wanted)
