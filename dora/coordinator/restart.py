"""Starting a node anew, where it runs. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError, MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session
from dora.coordinator.names import units_named

WITHIN = 60.0  # seconds for the old process to leave and the new one to come up
LOOK = 0.1  # seconds


@dataclass(frozen=True)
class Restarted:
    """`before` and `pid` are the processes; `state` is what became of the node. `error`: it was not
    restarted, or nobody knows."""

    machine: str
    before: int | None = None
    pid: int | None = None
    state: str = ""
    unit: str = ""  # the node, or one of its replicas
    error: MachineError | None = None


async def restart(
    name: str,
    node: str,
    sessions: Mapping[str, Session],
    *,
    force: bool = False,
    emit: Emit = ignore,
) -> tuple[Restarted, ...]:
    """Ends the node's process as a stop would and starts it again, on each machine that has it.
    While updates are held up there it is refused, unless `force`.
    Raises DeployError when no machine that answers has it."""
    nodes: set[str] = set()

    async def one(session: Session) -> list[Restarted]:
        machine = session.machine.id
        rows: list[Restarted] = []
        try:
            await session.start_supervisor()
            before = await _states(session, name)
            nodes.update(before)
            for unit in units_named(node, before):  # one after the other: the others go on
                if unit not in before:
                    continue
                await session.request("restart", deployment=name, unit=unit, force=force)
                pid = before[unit].get("pid")
                after = await _anew(session, name, unit, before[unit])
                rows.append(Restarted(machine, pid, after.get("pid"), str(after["state"]), unit))
        except MachineError as error:
            emit(MachineFailed(machine, error))
            rows.append(Restarted(machine, error=error))
        return rows

    having = [it for it in sessions.values() if name in it.facts.deployments]
    found = tuple(it for rows in await asyncio.gather(*map(one, having)) for it in rows)
    if not found:
        raise DeployError(
            f"{name} has no node {node!r} on a machine that answers; it has: "
            f"{', '.join(sorted(nodes)) or 'none'}",
            hint=f"dora status {name}",
        )
    return found


async def _anew(
    session: Session, name: str, node: str, before: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The node's state once another process is up, or has ended. Raises MachineError."""
    deadline = time.monotonic() + WITHIN
    while True:
        state = (await _states(session, name)).get(node)
        if state is None:
            raise MachineError(session.machine.id, f"{node} was stopped meanwhile")
        restarts = state.get("restarts", 0) > before.get("restarts", 0)
        other = state.get("pid") != before.get("pid") or restarts
        if other and state["state"] in ("running", "failed", "ended", "backoff"):
            return state
        if time.monotonic() > deadline:
            raise MachineError(
                session.machine.id,
                f"{node} is {state['state']} after {WITHIN:.0f} s",
                hint=f"dora logs {name} -n {node}",
            )
        await asyncio.sleep(LOOK)


async def _states(session: Session, name: str) -> dict[str, Mapping[str, Any]]:
    reply = await session.request("status", deployment=name)
    return {state["name"]: state for state in reply["units"]}
