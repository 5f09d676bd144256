"""Where the replicas of nodes run, once it is known where the nodes do. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dora.dataflow.model import Dataflow, Node
from dora.placement.model import Placement


def with_replicas(
    placement: Placement,
    dataflow: Dataflow,
    *,
    spreadable: bool,
    candidates: Callable[[Node], Sequence[str]],
    current: Mapping[str, tuple[str, ...]],
) -> Placement:
    """`placement` with the machines of all replicas. The first is where the node is placed; packed
    ones are all there, spread ones in turns on the machines that would do (`candidates`), each
    where it is (`current`: node -> machines of its replicas) if that would. `spreadable`: whether
    there is more than one machine at all."""
    replicas: dict[str, tuple[str, ...]] = {}
    scattered = set()
    for node in dataflow.nodes.values():
        if not node.deploy.has_replicas:
            continue
        first = placement.assignments[node.id].machine
        now = current.get(node.id, ())
        count = wanted(node, len(now))
        machines = [first] * count
        if node.deploy.spread and spreadable:
            scattered.add(node.id)
            others = [it for it in candidates(node) if it != first]
            turns = [first, *others]
            for index in range(1, count):
                here = now[index] if index < len(now) else None
                machines[index] = here if here in turns else turns[index % len(turns)]
        replicas[node.id] = tuple(machines)
    return replace(placement, replicas=replicas, scattered=frozenset(scattered))


def wanted(node: Node, now: int) -> int:
    """How many replicas: what the file says; where it leaves that to the load, as many as there
    are."""
    bounds = node.deploy.autoscale
    if bounds is None:
        return node.deploy.replicas or 1
    return min(max(now, bounds.min), bounds.max)
