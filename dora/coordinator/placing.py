"""Where nodes go, given what the machines have and what runs there now. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.events import Emit, Measuring
from deploy.inventory import Inventory
from deploy.session import Session
from dora.compile.cores import cores_left, usable
from dora.compile.platforms import platforms_of
from dora.coordinator.measured import measure
from dora.dataflow.model import Dataflow
from dora.placement.bars import NO_BARS, Bars, decide_without
from dora.placement.gain import Gain, gain_of
from dora.placement.groups import Situation
from dora.placement.hosts import Found
from dora.placement.model import Placement
from dora.placement.place import STAYS, decide, situation_of
from dora.placement.traffic import Rate
from dora.protocol.dataflow import DataflowSummary


@dataclass(frozen=True)
class Placed:
    """`situation` is what was decided on; `gain` is of moving what runs, if that was asked for."""

    placement: Placement
    situation: Situation
    gain: Gain | None = None


async def place_nodes(
    name: str,
    dataflow: Dataflow,
    inventory: Inventory,
    sessions: Mapping[str, Session],
    summary: DataflowSummary | None,
    *,
    measuring: bool,
    moving: bool,
    seconds: float,
    emit: Emit,
    bars: Bars = NO_BARS,
) -> Placed:
    """`summary` is of what runs; the rest is as in `prepare`. Raises PlacementError."""
    current = where_nodes_are(summary) if summary else {}
    measured: dict[tuple[str, str], Rate] = {}
    usage: dict[str, float] = {}
    if moving or (measuring and current and not dataflow.nodes.keys() <= current.keys()):
        emit(Measuring(seconds))
        source = summary.source if summary else str
        measured, usage = await measure(name, sessions, seconds, source)
    situation = situation_of(
        dataflow,
        tuple(inventory.machines.values()),
        available={
            machine: len(session.machine.cores or session.facts.cores)
            for machine, session in sessions.items()
        },
        current=current,
        found={machine: found_on(session, name) for machine, session in sessions.items()},
        measured=measured,
        usage=usage,
        platforms=platforms_of(dataflow),
        replicas=where_replicas_are(summary) if summary else {},
    )
    placement = decide_without(dataflow, situation, bars)
    gain = None
    if moving:
        moved = decide(dataflow, situation, keep=False)
        gain = gain_of(dataflow, situation, placement.parts, moved.parts)
        placement = moved if gain.real else placement
    if summary:
        placement = _with_first_reasons(placement, summary)
    return Placed(placement, situation, gain)


def found_on(session: Session, name: str) -> Found:
    """What of a machine counts for the placement of deployment `name`."""
    facts, limit = session.facts, session.machine.cores
    others = [it for it in facts.pinned if it.deployment != name]
    return Found(
        memory=facts.memory,
        devices=facts.devices,
        arch=facts.arch,
        cores=frozenset(usable(facts.topology, facts.cores, limit)),
        alone=cores_left(facts.topology, facts.cores, limit, others),
    )


def where_nodes_are(summary: DataflowSummary) -> dict[str, str]:
    """Node -> its machine; of one with replicas that of the first."""
    found = {summary.source(name): it.machine for name, it in reversed(list(summary.nodes.items()))}
    return {name: found[name] for name in reversed(list(found))}


def where_replicas_are(summary: DataflowSummary) -> dict[str, tuple[str, ...]]:
    found = {it.replica_of for it in summary.nodes.values() if it.replica_of}
    return {
        node: tuple(summary.nodes[it].machine for it in summary.replicas(node)) for node in found
    }


def _with_first_reasons(placement: Placement, summary: DataflowSummary) -> Placement:
    """A node that stays where it was placed keeps the reason of that decision, and where it came
    from: the same files give the same documents, however often they are deployed."""
    first = {summary.source(name): it for name, it in reversed(list(summary.nodes.items()))}
    assignments = {
        node: replace(
            it,
            reason=first[node].reason if STAYS in it.reason else it.reason,
            moved=it.moved or first[node].moved,
        )
        if node in first and first[node].machine == it.machine
        else it
        for node, it in placement.items()
    }
    return replace(placement, assignments=assignments)
