"""Outputs of a running dataflow with those who read them, looked at twice. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from deploy.profile import Profile
from dora.coordinator.contact import Contact
from dora.coordinator.status import NodeStatus, status
from dora.coordinator.wires import UNSAID, Count, Wire, count, newest_summary, profiles_of, wire_of
from dora.errors import DoraError
from dora.protocol.dataflow import DataflowSummary


@dataclass(frozen=True)
class Reader:
    """An input that reads a topic; `state` is its node's."""

    wire: Wire
    machine: str
    state: str
    received: Count = UNSAID
    dropped: Count = UNSAID


@dataclass(frozen=True)
class Topic:
    """An output, `node/output`, and who reads it."""

    name: str
    machine: str
    state: str
    sent: Count = UNSAID
    readers: tuple[Reader, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(sorted({reader.wire.layer for reader in self.readers}))


@dataclass(frozen=True)
class Looks:
    """Two looks at all nodes, `seconds` apart."""

    before: Sequence[NodeStatus]
    now: Sequence[NodeStatus]
    seconds: float


async def look(contact: Contact, deployment: str, seconds: float) -> tuple[Topic, ...]:
    """All topics of the deployment. Raises DoraError when no machine can tell of it."""
    profiles = await profiles_of(contact, deployment)
    summary = newest_summary(deployment, profiles)
    began = time.monotonic()
    before = (await status(contact, deployment)).nodes
    await asyncio.sleep(seconds)
    now = (await status(contact, deployment)).nodes
    return topics(summary, profiles, Looks(before, now, time.monotonic() - began))


def topics(
    summary: DataflowSummary, profiles: Mapping[str, Profile], looks: Looks
) -> tuple[Topic, ...]:
    """In the order of the nodes; outputs that nobody reads are there, too. Pure."""
    wires = [
        wire_of(summary, profiles, name, wired)
        for name, node in summary.nodes.items()
        for wired in node.inputs
    ]
    return tuple(
        Topic(
            f"{name}/{output}",
            node.machine,
            _state(looks, name),
            _count(looks, name, "sent", output),
            tuple(
                Reader(
                    wire,
                    summary.nodes[wire.consumer].machine,
                    _state(looks, wire.consumer),
                    _count(looks, wire.consumer, "received", wire.input),
                    _count(looks, wire.consumer, "dropped", wire.input),
                )
                for wire in wires
                if wire.source == f"{name}/{output}"
            ),
        )
        for name, node in summary.nodes.items()
        for output in node.outputs
    )


def topic_of(found: Sequence[Topic], name: str) -> Topic:
    """The one of that name; its node, or its output alone, will do where only one has it. Pure.
    Raises DoraError."""
    for fits in (
        [it for it in found if it.name == name],
        [it for it in found if it.name.partition("/")[0] == name],
        [it for it in found if it.name.endswith(f"/{name}")],
    ):
        if len(fits) == 1:
            return fits[0]
    names = [it.name for it in found]
    close = get_close_matches(name, names, n=1)
    raise DoraError(
        f"no topic is called {name!r}; there are {', '.join(names) or 'none'}",
        hint=f"dora topic info {close[0]}" if close else "dora topic list",
    )


def _state(looks: Looks, node: str) -> str:
    return next((row.state for row in looks.now if row.node == node), "unknown")


def _count(looks: Looks, node: str, what: str, name: str) -> Count:
    past = next((row for row in looks.before if row.node == node), None)
    now = next((row for row in looks.now if row.node == node), None)
    if past is None or now is None:
        return UNSAID
    return count(past, now, looks.seconds, what, name)
