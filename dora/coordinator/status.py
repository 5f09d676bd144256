"""What runs where, as the machines tell it. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.errors import MachineError, Refused
from deploy.session import Session
from dora.compile.dataplane import ROUTER
from dora.coordinator.contact import Contact
from dora.coordinator.pace import Rates, busy, rates
from dora.protocol.dataflow import DOCUMENT, DataflowSummary
from dora.protocol.traffic import Traffic

Holds = tuple[Mapping[str, Any], ...]  # as the supervisor's `holds` tells


@dataclass(frozen=True)
class NodeStatus:
    """One process; `state` is `unknown` where its machine or its supervisor does not answer."""

    deployment: str
    machine: str
    node: str
    state: str
    pid: int | None = None
    since: float | None = None  # seconds since the epoch, by its clock; of `unknown`: by ours
    restarts_at: float | None = None  # when it is started again, as `since`
    restarts: int = 0
    cores: tuple[int, ...] = ()
    scheduling: Mapping[str, Any] | None = None  # policy, priority, nice
    shortfall: str | None = None  # how that, or its cores, is not what it asks for
    generation: int | None = None
    error: str | None = None
    exit: Mapping[str, Any] | None = None
    last_lines: tuple[str, ...] = ()  # of its log, if its last end was an error
    rss: int | None = None  # bytes in memory
    memory_peak: int | None = None
    memory_limit: int | None = None
    cpu: float | None = None  # a share of one core
    traffic: Traffic | None = None  # since the process started; None if it has not said
    rates: Rates | None = None  # lately; None if it has not said enough
    replicas: Mapping[str, int] = field(default_factory=dict)  # operator -> how many of it
    busy: Mapping[str, float] = field(default_factory=dict)  # operator -> its time in calls, lately
    reason: str | None = None  # of its placement
    moved: str | None = None  # from where it had to go, when, and why
    infrastructure: bool = False  # a router, not a node of the flow file


@dataclass(frozen=True)
class Status:
    nodes: tuple[NodeStatus, ...]
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def status(contact: Contact, deployment: str | None = None) -> Status:
    """All deployments of the machines that answered, or one. Nodes that are known to belong on a
    machine that is away are listed as `unknown`."""

    locks: dict[str, Mapping[str, Any]] = {}
    holds: dict[str, Holds] = {}

    async def ask(session: Session) -> tuple[list[NodeStatus], list[DataflowSummary]]:
        async def all_of_it() -> tuple[list[NodeStatus], list[DataflowSummary]]:
            answer = await _machine(session, deployment)
            locks[session.machine.id] = await locks_of(session)
            holds[session.machine.id] = await holds_of(session)
            return answer

        try:
            return await session.asked_again_if_gone(all_of_it)
        except MachineError as error:  # lost since we reached it, or cannot tell
            contact.unreachable[session.machine.id] = error
            contact.last_seen[session.machine.id] = time.time()
            return [], []

    answers = await asyncio.gather(*(ask(session) for session in contact.sessions.values()))
    nodes = [node for rows, _ in answers for node in rows]
    seen = {(node.deployment, node.machine, node.node) for node in nodes}
    for summary in (summary for _, summaries in answers for summary in summaries):
        for name, node in summary.nodes.items():
            key = (summary.name, node.machine, name)
            if key not in seen and node.machine in contact.unreachable:
                seen.add(key)
                nodes.append(
                    NodeStatus(
                        deployment=summary.name,
                        machine=node.machine,
                        node=name,
                        state="unknown",
                        since=contact.last_seen.get(node.machine),
                        error=contact.unreachable[node.machine].reason,
                        reason=node.reason,
                        moved=node.moved or None,
                    )
                )
    machines: dict[str, dict[str, Any]] = {
        name: {
            "link": "up",
            "host": session.facts.hostname,
            "supervisor": bool(session.facts.supervisor.get("running")),
            "generations": {
                name: installed.current for name, installed in session.facts.deployments.items()
            },
            "trials": {
                name: installed.pending
                for name, installed in session.facts.deployments.items()
                if installed.pending is not None
            },
            "locks": locks[name],
            "holds": list(holds[name]),
        }
        for name, session in contact.sessions.items()
        if name not in contact.unreachable
    }
    for name, error in contact.unreachable.items():
        machines[name] = {
            "link": "unknown",
            "since": contact.last_seen.get(name),
            "error": error.reason,
            "hint": error.hint,
        }
    return Status(tuple(nodes), machines)


async def _machine(
    session: Session, only: str | None
) -> tuple[list[NodeStatus], list[DataflowSummary]]:
    running = bool(session.facts.supervisor.get("running"))
    if not running and any(it.current for it in session.facts.deployments.values()):
        # It died, or the machine was started anew: the next one takes over what should run.
        await session.start_supervisor()
        await session.look()  # it may have gone back from what was on trial
        running = True
    units = (await session.request("status"))["units"] if running else []
    rows, summaries = [], []
    for name, installed in session.facts.deployments.items():
        if installed.current is None or only not in (None, name):
            continue
        profile = await session.profile(name)
        if profile is None:
            continue
        summary = None
        if DOCUMENT in profile.documents:
            try:
                summary = DataflowSummary.from_text(profile.documents[DOCUMENT])
                summaries.append(summary)
            except ValueError:
                summary = None  # of another version of dora: reasons are missing, states are not
        states = {state["name"]: state for state in units if state["deployment"] == name}
        for unit in profile.units:
            state = states.get(unit.name)
            placed = summary.nodes.get(unit.name) if summary else None
            rows.append(
                NodeStatus(
                    deployment=name,
                    machine=session.machine.id,
                    node=unit.name,
                    reason=placed.reason if placed else None,
                    moved=(placed.moved or None) if placed else None,
                    replicas=placed.operators if placed else {},
                    infrastructure=unit.name == ROUTER,
                    generation=installed.current,
                    **_fields(state, placed.operators if placed else ()),
                )
            )
    return rows, summaries


async def locks_of(session: Session) -> Mapping[str, Any]:
    """Deployment -> {owner, since} of who has locked it; a lock lives in the supervisor."""
    if not session.facts.supervisor.get("running"):
        return {}
    found = (await session.request("deployments"))["deployments"]
    return {name: it["lock"] for name, it in found.items() if it.get("lock") is not None}


async def holds_of(session: Session) -> Holds:
    """Who holds updates up there, and who paused the machine; of units only a supervisor knows."""
    if not session.facts.supervisor.get("running"):
        return () if session.facts.pause is None else (session.facts.pause,)
    try:
        return tuple((await session.request("holds"))["holds"])
    except Refused as error:
        if error.code == "unknown_op":  # an older one: the next deployment replaces it
            return ()
        raise


def _fields(state: Mapping[str, Any] | None, groups: Collection[str]) -> dict[str, Any]:
    """`groups`: the node's operators that have replicas."""
    if state is None:
        return {"state": "unknown", "error": "no supervisor runs there"}
    traffic = _traffic(state.get("status"))
    return {
        "state": state["state"],
        "pid": state.get("pid"),
        "since": state.get("since"),
        "restarts_at": state.get("restarts_at"),
        "restarts": state.get("restarts", 0),
        "cores": tuple(state.get("cores") or ()),
        "scheduling": state.get("scheduling"),
        "shortfall": state.get("shortfall"),
        "error": state.get("error"),
        "exit": state.get("exit"),
        "last_lines": tuple(state.get("last_lines") or ()),
        **{name: state.get(name) for name in ("rss", "memory_peak", "memory_limit", "cpu")},
        "traffic": traffic,
        **_lately(state.get("before"), traffic, groups),
    }


def _lately(
    before: Mapping[str, Any] | None, now: Traffic | None, groups: Collection[str]
) -> dict[str, Any]:
    if before is None or now is None or (then := _traffic(before["text"])) is None:
        return {}
    seconds = before["seconds"]
    return {"rates": rates(then, now, seconds), "busy": busy(then, now, seconds, groups)}


def _traffic(text: str | None) -> Traffic | None:
    """None also for the status of a program that does not use our library."""
    if text is None:
        return None
    try:
        return Traffic.from_text(text)
    except ValueError:
        return None
