"""Which layer serves each edge, and what each node is told about its inputs and outputs. Laptop."""

from __future__ import annotations

from dora.dataflow.model import Dataflow, Input, LogSource, Node, OutputSource, TimerSource
from dora.errors import DoraError
from dora.protocol.config import InputConfig, OutputConfig


def inputs(node: Node) -> dict[str, InputConfig]:
    return {name: _input(node, name, wired) for name, wired in node.all_inputs.items()}


def outputs(node: Node) -> dict[str, OutputConfig]:
    return {name: OutputConfig(layers=("zenoh",)) for name in node.all_outputs}


def crossing(dataflow: Dataflow, machine_of: dict[str, str]) -> list[tuple[str, str]]:
    """The edges between machines, as pairs of node ids (producer, consumer)."""
    return [
        (wired.source.node, node.id)
        for node in dataflow.nodes.values()
        for wired in node.all_inputs.values()
        if isinstance(wired.source, OutputSource)
        and machine_of.get(wired.source.node) != machine_of.get(node.id)
    ]


def _input(node: Node, name: str, wired: Input) -> InputConfig:
    source = wired.source
    if isinstance(source, LogSource):
        raise DoraError(
            f"{wired.mark.file}:{wired.mark.line}: node {node.id!r}: input {name!r} reads "
            f"{source}, and this version does not publish logs as messages yet",
            hint="`dora logs -f` shows them; remove the input to deploy",
        )
    return InputConfig(
        source=str(source),
        layer="timer" if isinstance(source, TimerSource) else "zenoh",
        queue_size=wired.queue_size,
        queue_policy=wired.queue_policy,
        interval=source.interval if isinstance(source, TimerSource) else None,
        timeout=wired.input_timeout,
    )
