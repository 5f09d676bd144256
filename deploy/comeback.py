"""After a machine went back from a generation: what failed said last, and whether what ran before
runs again. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.errors import MachineError
from deploy.events import Emit
from deploy.generation import Generation
from deploy.profile import Profile
from deploy.proof import STOPPING, States, prove
from deploy.session import Session


@dataclass(frozen=True)
class Comeback:
    """Units' last states; those that do not run again, with why; and the last lines of what was
    not healthy in the generation that failed."""

    states: States
    unrestored: Mapping[str, str]
    last_lines: Mapping[str, Sequence[str]]


async def come_back(
    session: Session, deployment: str, failed: int | None, current: int | None, emit: Emit
) -> Comeback:
    """Waits until the generation `current` runs (None: until nothing does), or will not.
    Raises MachineError."""
    tried = await _generation(session, deployment, failed)
    records = tried.failure.units if tried is not None and tried.failure is not None else {}
    before = await _generation(session, deployment, current)
    profile = Profile(deployment, session.machine.id, ()) if before is None else before.profile
    limit = STOPPING + max((unit.start_timeout for unit in profile.units), default=0.0)
    proof = await prove(session, profile, emit, window=0, limit=limit)
    lines = {unit: tuple(record.get("last_lines", ())) for unit, record in records.items()}
    return Comeback(proof.states, proof.unhealthy, lines)


async def _generation(session: Session, deployment: str, number: int | None) -> Generation | None:
    if number is None:
        return None
    reply = await session.request("generation", deployment=deployment, number=number)
    if reply.get("generation") is None:
        return None  # removed meanwhile
    try:
        return Generation.from_json(reply["generation"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"its generation {number} cannot be read: {error}"
        raise MachineError(session.machine.id, reason) from error
