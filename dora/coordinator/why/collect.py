"""Looks at an edge, its two ends and what is between them, twice. Laptop only."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from difflib import get_close_matches

from deploy.errors import MachineError
from dora.compile.dataplane import ROUTER
from dora.coordinator.contact import Contact
from dora.coordinator.onlooker import TCP, UDP, Onlooker, onlooker
from dora.coordinator.status import NodeStatus, status
from dora.coordinator.why.situation import Situation, Way
from dora.coordinator.wires import Looks, Wire, newest_summary, profiles_of, units_of, wire_of
from dora.errors import DoraError
from dora.protocol.config import NETWORK
from dora.protocol.dataflow import DataflowSummary

SECONDS = 3.0  # between the two looks; nodes say about once a second what went through them


async def collect(
    contact: Contact, deployment: str, target: str, seconds: float = SECONDS
) -> Situation:
    """`target` is an input as the user wrote it. Raises DoraError when there is none of that
    name, and MachineError when no machine can tell."""
    profiles = await profiles_of(contact, deployment)
    summary = newest_summary(deployment, profiles)
    consumer, input = find_input(summary, target)
    wire = wire_of(summary, profiles, consumer, input)
    producers = () if wire.producer is None else units_of(summary, wire.producer)
    machines = dict.fromkeys(summary.nodes[node].machine for node in (*producers, consumer))
    began = time.monotonic()
    first = (await status(contact, deployment)).nodes
    involved = [row for row in first if row.node in (*producers, consumer, ROUTER)]
    seen, _ = await asyncio.gather(
        _look_around(contact, summary, list(machines), involved, wire),
        asyncio.sleep(seconds),
    )
    second = tuple(
        by_our_clock(row, seen[row.machine].ahead) if row.machine in seen else row
        for row in (await status(contact, deployment)).nodes
    )
    looks = Looks(first, second, time.monotonic() - began)
    rows = [looks.row(node) or _unknown(deployment, summary, node) for node in producers]
    rows.sort(key=lambda row: row.state != "running")  # of replicas one that runs will do
    return Situation(
        wire=wire,
        consumer=looks.row(consumer) or _unknown(deployment, summary, consumer),
        producer=rows[0] if rows else None,
        replicas=tuple(rows[1:]),
        routers={
            row.machine: row
            for row in second
            if wire.layer in NETWORK and row.infrastructure and row.machine in machines
        },
        ways=tuple(way for around in seen.values() for way in around.ways),
        halted=frozenset(it for around in seen.values() for it in around.halted),
        sent=looks.count(producers, "sent", wire.output),
        fed=looks.count(producers, "fed", ""),
        received=looks.count([consumer], "received", input),
        dropped=looks.count([consumer], "dropped", input),
        seconds=looks.seconds,
        now=time.time(),
    )


def find_input(summary: DataflowSummary, target: str) -> tuple[str, str]:
    """`node/input`, `node/operator/input`, `operator/input` where only one has it, or `node` with
    one input. Pure. Raises DoraError."""
    node, _, input = target.partition("/")
    every = [(name, wired) for name, it in summary.nodes.items() for wired in it.inputs]
    exact = [(name, wired) for name, wired in every if f"{name}/{wired}" == target]
    replicas = [
        (name, wired) for name, wired in every if f"{summary.source(name)}/{wired}" == target
    ]
    shortened = [(name, wired) for name, wired in every if wired == target]
    of_node = [(name, wired) for name, wired in every if name == node and not input]
    for found in (exact, replicas, shortened, of_node):
        if len(found) == 1:
            return found[0]
    several = replicas or of_node or shortened
    if several:
        names = ", ".join(f"{name}/{wired}" for name, wired in several)
        raise DoraError(f"{target!r} has several inputs: {names}", hint="name one of them")
    known = [f"{name}/{wired}" for name, wired in every]
    close = get_close_matches(target, known, n=1)
    mine = [f"{name}/{wired}" for name, wired in every if name == node]
    what = f"node {node!r} has no input {input!r}" if node in summary.nodes else "no such input"
    raise DoraError(
        f"{target!r}: {what}; there are {', '.join(mine or known) or 'none'}",
        hint=f"dora why {close[0]}" if close else f"dora status {summary.name}",
    )


@dataclass(frozen=True)
class _Around:
    """What one machine sees: ways to the others, whose process is stopped, and how far its clock is
    ahead of ours (s)."""

    ways: tuple[Way, ...] = ()
    halted: tuple[tuple[str, str], ...] = ()
    ahead: float = 0.0


async def _look_around(
    contact: Contact,
    summary: DataflowSummary,
    machines: list[str],
    involved: list[NodeStatus],
    wire: Wire,
) -> dict[str, _Around]:
    async def look(name: str) -> _Around:
        session = contact.sessions.get(name)
        if session is None:
            return _Around()
        pids = {row.pid: row.node for row in involved if row.machine == name and row.pid}
        targets = ways_to_try(summary, wire, name, machines)
        try:
            async with onlooker(session) as looker:
                halted = tuple((name, pids[pid]) for pid in await looker.halted(list(pids)))
                ahead = (await looker.clock()).ahead
                return _Around(await _ways(looker, name, targets), halted, ahead)
        except MachineError as error:
            contact.unreachable[name] = error
            return _Around()

    return dict(zip(machines, await asyncio.gather(*map(look, machines)), strict=True))


def by_our_clock(row: NodeStatus, ahead: float) -> NodeStatus:
    """Its times as this laptop's clock had them. Pure."""
    since = None if row.since is None else row.since - ahead
    back = None if row.restarts_at is None else row.restarts_at - ahead
    return replace(row, since=since, restarts_at=back)


@dataclass(frozen=True)
class Target:
    """A port of a machine's router."""

    machine: str
    host: str
    port: int
    protocol: str = UDP


def ways_to_try(
    summary: DataflowSummary, wire: Wire, source: str, machines: list[str]
) -> list[Target]:
    """What one of the edge's machines is to ask: the routers of the others, by UDP; for a direct
    link the consumer's machine also calls where the consumer does, by TCP. Pure."""
    if wire.layer not in NETWORK:
        return []
    routers = {it: summary.routers[it] for it in machines if it != source and it in summary.routers}
    found = [Target(name, router.host, router.port) for name, router in routers.items()]
    if wire.at and wire.producer and summary.nodes[wire.consumer].machine == source:
        host, _, port = wire.at.rpartition(":")
        for machine in {summary.nodes[it].machine for it in units_of(summary, wire.producer)}:
            found.append(Target(machine, host.strip("[]"), int(port), TCP))
    return found


async def _ways(looker: Onlooker, source: str, targets: list[Target]) -> tuple[Way, ...]:
    if not targets:
        return ()
    reached = await looker.reach([(it.host, it.port, it.protocol) for it in targets])
    return tuple(
        Way(source, it.machine, it.port, found, it.protocol)
        for it, found in zip(targets, reached, strict=True)
    )


def _unknown(deployment: str, summary: DataflowSummary, node: str) -> NodeStatus:
    error = "its machine was not asked, or does not run it any more"
    return NodeStatus(deployment, summary.nodes[node].machine, node, "unknown", error=error)
