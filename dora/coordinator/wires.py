"""How inputs of a running dataflow are fed, and what goes through them. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import MachineError
from deploy.profile import Profile
from deploy.session import Session
from dora.coordinator.contact import Contact
from dora.coordinator.status import NodeStatus
from dora.errors import DoraError
from dora.protocol import ways
from dora.protocol.config import NODE_CONFIG, InputConfig, NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary
from dora.protocol.traffic import Traffic

TIMER = "dora/timer/"


@dataclass(frozen=True)
class Wire:
    """How an input is fed. `source` is `node/output` or a timer, as the flow file has it; the
    queue's size and policy are None where the consumer's machine did not tell them."""

    deployment: str
    consumer: str
    input: str
    source: str
    layer: str  # shm | zenoh | direct | memory | timer
    queue_size: int | None = None
    queue_policy: str | None = None
    timeout: float | None = None  # s
    at: str = ""  # of layer `direct`: `host:port`, where the consumer calls

    @property
    def is_timer(self) -> bool:
        return self.source.startswith(TIMER)

    @property
    def producer(self) -> str | None:
        return None if self.is_timer else self.source.partition("/")[0]

    @property
    def output(self) -> str:
        return self.source.partition("/")[2]

    @property
    def where(self) -> str:
        return f"{self.consumer}/{self.input}"


@dataclass(frozen=True)
class Count:
    """Messages since the process started, and a second of late; None: nobody has said."""

    total: int | None = None
    rate: float | None = None

    @property
    def moves(self) -> bool:
        return bool(self.rate)


UNSAID = Count()


async def profiles_of(contact: Contact, deployment: str) -> dict[str, Profile]:
    """What machines run of it, what was deployed last first; one that cannot tell is among the
    unreachable from then on."""

    async def one(session: Session) -> Profile | None:
        try:
            return await session.profile(deployment)
        except MachineError as error:
            contact.unreachable[session.machine.id] = error
            return None

    def created(session: Session) -> float:
        installed = session.facts.deployments.get(deployment)
        return (installed.created if installed else None) or 0.0

    newest = sorted(contact.sessions.values(), key=created, reverse=True)
    found = await asyncio.gather(*map(one, newest))
    rows = zip(newest, found, strict=True)
    return {it.machine.id: profile for it, profile in rows if profile is not None}


def newest_summary(deployment: str, profiles: Mapping[str, Profile]) -> DataflowSummary:
    """What the machines know of the dataflow, as `profiles_of` gives them. Pure.
    Raises DoraError."""
    for profile in profiles.values():
        try:
            return DataflowSummary.from_text(profile.documents.get(DOCUMENT, ""))
        except ValueError:
            continue  # of another version of dora; another machine may have a newer one
    raise DoraError(
        f"no machine that answered runs {deployment!r}, or can tell of it", hint="dora status"
    )


def units_of(summary: DataflowSummary, node: str) -> tuple[str, ...]:
    """The processes of a node, as inputs name it: its replicas, or itself; none if it is not known
    any more. Pure."""
    return summary.replicas(node) or ((node,) if node in summary.nodes else ())


def wire_of(
    summary: DataflowSummary, profiles: Mapping[str, Profile], consumer: str, input: str
) -> Wire:
    """Pure. What the consumer was told about its input, where its machine tells; else what follows
    from the dataflow."""
    source = summary.nodes[consumer].inputs[input]
    profile = profiles.get(summary.nodes[consumer].machine)
    config = _config(profile, consumer, input)
    more: dict[str, Any] = {}
    if config is not None:
        source, layer = config.source, config.layer
        more = {"queue_size": config.queue_size, "queue_policy": config.queue_policy}
        more |= {"timeout": config.timeout, "at": config.at}
    elif source.startswith(TIMER):
        layer = "timer"
    elif (way := _way(profile, summary.source(consumer), input)) is not None:
        layer, more = way.layer, {"at": way.at}
    else:
        producers = units_of(summary, source.partition("/")[0])
        machines = {summary.nodes[name].machine for name in producers}
        here = machines == {summary.nodes[consumer].machine}
        layer = "memory" if consumer in producers else "shm" if here else "zenoh"
    return Wire(summary.name, consumer, input, source, layer, **more)


def _config(profile: Profile | None, node: str, input: str) -> InputConfig | None:
    """None where the configuration is so long that it lies in a file, or of another version."""
    if profile is None:
        return None
    for unit in profile.units:
        if unit.name == node and (text := unit.env.get(NODE_CONFIG)):
            try:
                config = NodeConfig.from_text(text)
                told = ways.from_text(profile.documents.get(ways.DOCUMENT, "{}"))
            except ValueError:
                return None
            found = told.get(config.node)
            return (found.laid(config) if found else config).inputs.get(input)
    return None


def _way(profile: Profile | None, node: str, input: str) -> ways.InputWay | None:
    """What is told also of nodes whose configuration cannot be read here."""
    try:
        told = ways.from_text(profile.documents.get(ways.DOCUMENT, "{}") if profile else "{}")
    except ValueError:
        return None
    return told[node].inputs.get(input) if node in told else None


@dataclass(frozen=True)
class Looks:
    """Two looks at all nodes, `seconds` apart."""

    before: Sequence[NodeStatus]
    now: Sequence[NodeStatus]
    seconds: float

    def row(self, node: str) -> NodeStatus | None:
        """How it is now."""
        return next((row for row in self.now if row.node == node), None)

    def count(self, nodes: Iterable[str], what: str, name: str) -> Count:
        """Of all of them together, as far as they have said."""
        past = {row.node: row for row in self.before}
        rows = [row for row in map(self.row, nodes) if row is not None and row.node in past]
        found = [count(past[row.node], row, self.seconds, what, name) for row in rows]
        totals = [it.total for it in found if it.total is not None]
        rates = [it.rate for it in found if it.rate is not None]
        return Count(sum(totals) if totals else None, sum(rates) if rates else None)


def count(before: NodeStatus, now: NodeStatus, seconds: float, what: str, name: str) -> Count:
    """`what` (sent, received, dropped) of one output or input, or all that the node has received
    (`fed`), and how it grew. Pure."""
    total = _total(now.traffic, what, name)
    past = _total(before.traffic, what, name)
    if total is None or past is None or before.pid != now.pid or seconds <= 0 or total < past:
        return Count(total)
    return Count(total, (total - past) / seconds)


def _total(traffic: Traffic | None, what: str, name: str) -> int | None:
    """None also for a node with so many edges that it tells no names."""
    if traffic is None:
        return None
    if what == "fed":
        return traffic.received
    if what == "sent":
        found = traffic.outputs.get(name)
        return 0 if found is None and not traffic.sent else found
    wired = traffic.inputs.get(name)
    if wired is not None:
        return wired.received if what == "received" else wired.dropped
    operator = traffic.operators.get(name.partition("/")[0])
    if operator is not None and "/" in name:  # fed by an operator beside it: not counted by input
        return operator.received if what == "received" else operator.dropped
    return 0 if not traffic.received and not traffic.dropped else None
