"""How much every output sends: what the file says, else what was measured, else a guess. Pure.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dora.dataflow.model import Dataflow, Node, OutputSource, TimerSource

DEFAULT_HZ = 10.0
DEFAULT_BYTES = 1000

Origin = Literal["file", "measured", "guess"]


@dataclass(frozen=True)
class Rate:
    """Of one output: messages a second, and the bytes of one."""

    hz: float
    bytes: float


@dataclass(frozen=True)
class Flow:
    """An output that other nodes read; `readers` are these, each once."""

    producer: str
    output: str  # as it is known behind `<node>/`
    readers: tuple[str, ...]
    rate: Rate
    origin: Origin

    @property
    def source(self) -> str:
        return f"{self.producer}/{self.output}"

    @property
    def bytes_per_second(self) -> float:
        return self.rate.hz * self.rate.bytes


Measured = Mapping[tuple[str, str], Rate]  # (node, output) -> what was seen


def flows(dataflow: Dataflow, measured: Measured | None = None) -> tuple[Flow, ...]:
    """In the order of the file; what stays within a node is left out."""
    readers: dict[tuple[str, str], dict[str, None]] = {}
    for node in dataflow.nodes.values():
        for wired in node.all_inputs.values():
            source = wired.source
            if isinstance(source, OutputSource) and source.node != node.id:
                output = str(source).split("/", 1)[1]
                readers.setdefault((source.node, output), {})[node.id] = None
    found = []
    for node in dataflow.nodes.values():
        for output in node.all_outputs:
            if (node.id, output) in readers:
                rate, origin = _rate(node, output, measured or {})
                found.append(Flow(node.id, output, tuple(readers[node.id, output]), rate, origin))
    return tuple(found)


def crossing(flow: Flow, machine_of: Mapping[str, str]) -> tuple[str, ...]:
    """The other machines that a flow goes to; once to each, however many read it there."""
    home = machine_of[flow.producer]
    return tuple(sorted({machine_of[reader] for reader in flow.readers} - {home}))


def over_network(flow: Flow, machine_of: Mapping[str, str]) -> float:
    """The bytes a second of a flow that leave its machine."""
    return flow.bytes_per_second * len(crossing(flow, machine_of))


def told(bytes_per_second: float) -> str:
    """`31.1 MB/s`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_per_second >= size:
            return f"{bytes_per_second / size:.1f} {unit}/s"
    return f"{bytes_per_second:.0f} B/s"


def _rate(node: Node, output: str, measured: Measured) -> tuple[Rate, Origin]:
    if output in node.output_rates:
        return Rate(*node.output_rates[output]), "file"
    if (node.id, output) in measured:
        return measured[node.id, output], "measured"
    ticks = [
        1e9 / wired.source.interval
        for wired in node.all_inputs.values()
        if isinstance(wired.source, TimerSource) and wired.source.interval
    ]
    return Rate(max(ticks, default=DEFAULT_HZ), DEFAULT_BYTES), "guess"
