"""Which layer serves each edge, and what each node is told about its inputs and outputs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dora.dataflow.model import Dataflow, Input, Node, OutputSource, Quality, TimerSource
from dora.errors import DoraError
from dora.protocol.config import NETWORK, InputConfig, OutputConfig

PLAIN = Quality()


@dataclass(frozen=True)
class Edge:
    """`source` is `node/output`, as the consumer names it."""

    producer: str
    output: str  # as it is known behind `<node>/`
    consumer: str
    input: str
    layer: str  # memory | shm | zenoh
    quality: Quality = PLAIN  # of the output; matters between machines
    joined: bool = False  # the producer has replicas
    share: str = ""  # replicas of the consumer share it: `<node>/<input>`
    direct: bool = False  # between machines, past both routers

    @property
    def source(self) -> str:
        return f"{self.producer}/{self.output}"


def edges(
    dataflow: Dataflow, machine_of: Mapping[str, str], scattered: Collection[str] = ()
) -> tuple[Edge, ...]:
    """Every edge with its layer: memory within a runtime, shared memory within a machine, zenoh
    between machines; between nodes what `communication: {layer: ...}` says. Nodes whose replicas
    may be on several machines (`scattered`) are reached over zenoh wherever they are: so nobody is
    started anew when one comes or goes. Raises DoraError for an edge between machines that is to
    use shared memory."""
    found = []
    for node in dataflow.nodes.values():
        for name, wired in node.all_inputs.items():
            source = wired.source
            if not isinstance(source, OutputSource):
                continue
            apart = {source.node, node.id} & set(scattered)
            here = machine_of.get(source.node) == machine_of.get(node.id) and not apart
            if dataflow.layer == "shm" and not here:
                raise DoraError(
                    f"{wired.mark.file}:{wired.mark.line}:{wired.mark.column}: input {name!r} of "
                    f"node {node.id!r} reads {source} of machine {machine_of.get(source.node)!r}, "
                    f"and `communication: {{layer: shm}}` stays within a machine "
                    f"({machine_of.get(node.id)!r})",
                    hint="use `layer: auto`, or place both nodes on one machine (`deploy: near:`)",
                )
            if source.node == node.id and node.operators:
                layer = "memory"
            else:
                layer = "shm" if here and dataflow.layer != "zenoh" else "zenoh"
            output = str(source).split("/", 1)[1]
            quality = dataflow.nodes[source.node].quality(output)
            joined = dataflow.nodes[source.node].deploy.has_replicas
            shares = node.deploy.has_replicas and wired.distribution != "broadcast"
            found.append(
                Edge(
                    source.node,
                    output,
                    node.id,
                    name,
                    layer,
                    quality,
                    joined=joined,
                    share=f"{node.id}/{name}" if shares else "",
                    direct=wired.direct and not here,
                )
            )
    return tuple(found)


def inputs(
    node: Node, wiring: Iterable[Edge], routers: Mapping[str, str] | None = None
) -> dict[str, InputConfig]:
    """`routers`: by node, the `host:port` at which the router of its machine is reached."""
    edges = {edge.input: edge for edge in wiring if edge.consumer == node.id}
    at = {edge.input: routers[edge.producer] for edge in edges.values() if edge.direct and routers}
    return {
        name: _input(wired, edges.get(name), at.get(name, ""))
        for name, wired in node.all_inputs.items()
    }


def outputs(node: Node, wiring: Iterable[Edge]) -> dict[str, OutputConfig]:
    """An output that nobody reads uses no layer."""
    layers: dict[str, set[str]] = {name: set() for name in node.all_outputs}
    callers: dict[str, set[str]] = {}
    shared = set()
    for edge in wiring:
        if edge.producer == node.id:
            layers[edge.output].add("direct" if edge.direct else edge.layer)
            if edge.direct:
                callers.setdefault(edge.output, set()).add(f"{edge.consumer}/{edge.input}")
            if edge.share and edge.layer == "zenoh":  # on a machine, who shares says so
                shared.add(edge.output)
    return {
        name: _output(node.quality(name), used, name in shared, callers.get(name, ()))
        for name, used in layers.items()
    }


def is_read(node: str, wiring: Iterable[Edge]) -> bool:
    """Whether anybody outside its process reads an output of the node, wherever that is."""
    return any(edge.producer == node and edge.layer != "memory" for edge in wiring)


def layers_of(node: str, wiring: Iterable[Edge]) -> frozenset[str]:
    """The layers that a node needs at all."""
    return frozenset(edge.layer for edge in wiring if node in (edge.producer, edge.consumer))


def connected(node: str, wiring: Iterable[Edge]) -> tuple[str, ...]:
    """The nodes with which it speaks directly."""
    ends = [(edge.producer, edge.consumer) for edge in wiring if edge.direct]
    found = {other for one in ends if node in one for other in one if other != node}
    return tuple(sorted(found))


def crossing(
    wiring: Iterable[Edge],
    machine_of: Mapping[str, str],
    replicas: Mapping[str, Collection[str]] | None = None,
) -> frozenset[str]:
    """The machines that some edge enters or leaves. `replicas`: where those of nodes are."""
    its = replicas or {}
    found: set[str] = set()
    for edge in wiring:
        nodes = edge.producer, edge.consumer
        ends = {machine for it in nodes for machine in its.get(it, (machine_of[it],))}
        if len(ends) > 1:
            found |= ends
    return frozenset(found)


def _output(
    quality: Quality, layers: set[str], shared: bool, callers: Collection[str]
) -> OutputConfig:
    """What only matters between machines is left out where nothing leaves this one, so that
    changing it does not restart the node."""
    if layers.isdisjoint(NETWORK):
        return OutputConfig(layers=tuple(sorted(layers)))
    return OutputConfig(
        layers=tuple(sorted(layers)),
        cache=quality.kept,
        priority=quality.priority,
        shared=shared,
        callers=tuple(sorted(callers)),
    )


def _input(wired: Input, edge: Edge | None, at: str) -> InputConfig:
    source = wired.source
    return InputConfig(
        source=str(source),
        layer="timer" if edge is None else "direct" if at else edge.layer,
        queue_size=wired.queue_size,
        queue_policy=wired.queue_policy,
        interval=source.interval if isinstance(source, TimerSource) else None,
        timeout=wired.input_timeout,
        cache=edge.quality.kept if edge and edge.layer == "zenoh" else 0,
        joined=edge.joined if edge else False,
        share=edge.share if edge else "",
        key=(wired.key or "") if edge and edge.share else "",
        at=at,
    )
