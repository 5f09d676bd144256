"""Whether somebody stays with nodes that run only as long as somebody does. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from deploy.errors import MachineError
from deploy.session import Session
from dora.dataflow.model import Dataflow


async def unattended(
    name: str, dataflow: Dataflow, sessions: Mapping[str, Session]
) -> tuple[str, ...]:
    """A warning, if nodes may move and no coordinator keeps the leases of any machine."""
    moving = [node.id for node in dataflow.nodes.values() if node.deploy.moves]
    if not moving or len(sessions) < 1:
        return ()
    kept = await asyncio.gather(*(_is_kept(session, name) for session in sessions.values()))
    if any(kept):
        return ()
    lease = min(session.machine.lease for session in sessions.values())
    verb = "moves when its machine is" if len(moving) == 1 else "move when their machine is"
    return (
        f"{', '.join(moving)} {verb} lost, and so must end {lease:g} s after no `dora coordinator` "
        f"is heard any more: none keeps {name} now",
    )


async def _is_kept(session: Session, name: str) -> bool:
    if not session.runs_our_supervisor:
        return False
    try:
        return (await session.request("lease", deployment=name))["holder"] is not None
    except MachineError:
        return False  # whatever is done there next meets the same, and tells
