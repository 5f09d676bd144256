"""Which processes each node becomes, and how many of each operator. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dora.dataflow.model import Dataflow, Node
from dora.placement.model import Placement
from dora.protocol.config import replica_name
from dora.protocol.dataflow import NodeSummary


@dataclass(frozen=True)
class Instance:
    """A process of the node `of`. `node` is the same under the name of its unit; `replica` counts
    from 1 and is 0 for a node that has none."""

    node: Node
    of: Node
    machine: str
    replica: int = 0


def instances(dataflow: Dataflow, placement: Placement) -> Iterator[Instance]:
    """In the order of the flow file."""
    for node in dataflow.nodes.values():
        if not node.deploy.has_replicas:
            yield Instance(node, node, placement.assignments[node.id].machine)
            continue
        for number, machine in enumerate(machines_of(node, placement), start=1):
            named = replace(node, id=replica_name(node.id, number))
            yield Instance(named, node, machine, number)


def machines_of(node: Node, placement: Placement) -> tuple[str, ...]:
    """Where the node runs: as often as it does."""
    machine = placement.assignments[node.id].machine
    return placement.replicas.get(node.id, (machine,) * (node.deploy.least if node.deploy else 1))


def operator_counts(node: Node, running: NodeSummary | None) -> dict[str, int]:
    """Operator with replicas -> how many. `running`: the node as it is now, if it is."""
    now = running.operators if running else {}
    return {it.id: it.count(now.get(it.id, 0)) for it in node.operators if it.has_replicas}
