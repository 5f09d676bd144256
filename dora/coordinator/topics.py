"""Outputs of a running dataflow with those who read them, looked at twice. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from deploy.profile import Profile
from dora.coordinator.contact import Contact
from dora.coordinator.status import status
from dora.coordinator.wires import (
    UNSAID,
    Count,
    Looks,
    Wire,
    newest_summary,
    profiles_of,
    units_of,
    wire_of,
)
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
    """An output, `node/output`, and who reads it. Of a node with replicas it is of all of them, on
    all their machines."""

    name: str
    machine: str
    state: str
    sent: Count = UNSAID
    readers: tuple[Reader, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(sorted({reader.wire.layer for reader in self.readers}))


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
        _topic(summary, looks, node, output, wires)
        for node in dict.fromkeys(map(summary.source, summary.nodes))
        for output in summary.nodes[units_of(summary, node)[0]].outputs
    )


def _topic(
    summary: DataflowSummary, looks: Looks, node: str, output: str, wires: Sequence[Wire]
) -> Topic:
    units = units_of(summary, node)
    machines = dict.fromkeys(summary.nodes[unit].machine for unit in units)
    readers = tuple(
        Reader(
            wire,
            summary.nodes[wire.consumer].machine,
            _state(looks, [wire.consumer]),
            looks.count([wire.consumer], "received", wire.input),
            looks.count([wire.consumer], "dropped", wire.input),
        )
        for wire in wires
        if wire.source == f"{node}/{output}"
    )
    sent = looks.count(units, "sent", output)
    return Topic(f"{node}/{output}", ", ".join(machines), _state(looks, units), sent, readers)


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


def _state(looks: Looks, units: Iterable[str]) -> str:
    """Of several replicas that of one that runs, if one does."""
    states = [row.state for row in map(looks.row, units) if row is not None]
    return "running" if "running" in states else states[0] if states else "unknown"
