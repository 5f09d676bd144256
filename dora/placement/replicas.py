"""Nodes with replicas as placement sees them. Pure; laptop only.

What is placed by itself is a part: a node, or each replica of a node whose replicas are spread over
machines. Replicas that are packed go together and are one part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dora.dataflow.model import Dataflow, Node, OutputSource
from dora.placement.model import Assignment, Placement
from dora.placement.traffic import Flow, Rate
from dora.protocol.config import replica_name

Running = Mapping[str, tuple[str, ...]]  # node -> the machines of its replicas


def parts_of(dataflow: Dataflow, running: Running, *, spreadable: bool) -> dict[str, str]:
    """Part -> its node, in the order of the file. `spreadable`: whether there is more than one
    machine at all."""
    found: dict[str, str] = {}
    for node in dataflow.nodes.values():
        if spreadable and node.deploy.has_replicas and node.deploy.spread:
            for number in range(1, wanted(node, len(running.get(node.id, ()))) + 1):
                found[replica_name(node.id, number)] = node.id
        else:
            found[node.id] = node.id
    return found


def packed_in(dataflow: Dataflow, parts: Mapping[str, str], running: Running) -> dict[str, int]:
    """How many replicas a node is that has them all on one machine."""
    return {
        node.id: wanted(node, len(running.get(node.id, ())))
        for node in dataflow.nodes.values()
        if node.deploy.has_replicas and node.id in parts
    }


def running_parts(
    parts: Mapping[str, str], current: Mapping[str, str], running: Running
) -> dict[str, str]:
    """Part -> where it runs now. `current` is of nodes; of one with replicas that of the first."""
    found = dict(current)
    for part, node in parts.items():
        if part != node:
            found.pop(node, None)
            number = int(part.removeprefix(f"{node}."))
            now = running.get(node) or ((current[node],) if node in current else ())
            if number <= len(now):
                found[part] = now[number - 1]
    return found


def flows_of_parts(
    flows: tuple[Flow, ...], dataflow: Dataflow, parts: Mapping[str, str]
) -> tuple[Flow, ...]:
    """What each part sends: a share of what its node does. Of what is balanced over replicas, each
    gets a share, by a way of its own; of what is broadcast each gets all."""
    of: dict[str, list[str]] = {}
    for part, node in parts.items():
        of.setdefault(node, []).append(part)
    found: list[Flow] = []
    for flow in flows:
        shared = [it for it in flow.readers if of[it] != [it] and _balanced(dataflow, flow, it)]
        whole = tuple(part for it in flow.readers if it not in shared for part in of[it])
        for producer in of[flow.producer]:
            sent = _share(replace(flow, producer=producer), len(of[flow.producer]))
            if whole:
                found.append(replace(sent, readers=whole))
            for reader in shared:
                each = _share(sent, len(of[reader]))
                found += [replace(each, readers=(part,)) for part in of[reader]]
    return tuple(found)


def placement_of(
    dataflow: Dataflow,
    parts: Mapping[str, str],
    packed: Mapping[str, int],
    found: Mapping[str, Assignment],
    running: Mapping[str, str],
) -> Placement:
    """Of nodes, given the assignment of each part, and where parts run now. A node is where its
    first replica is."""
    assignments: dict[str, Assignment] = {}
    spread: dict[str, list[str]] = {}
    for part, node in parts.items():
        assignments.setdefault(node, found[part])
        if node != part:
            spread.setdefault(node, []).append(part)
    replicas = {node: _in_turns(its, found, running) for node, its in spread.items()}
    scattered = frozenset(replicas)
    for node, count in packed.items():
        replicas[node] = (found[node].machine,) * count
    return Placement(
        {node: assignments[node] for node in dataflow.nodes},
        {node: replicas[node] for node in dataflow.nodes if node in replicas},
        scattered,
    )


def _in_turns(
    parts: Sequence[str], found: Mapping[str, Assignment], running: Mapping[str, str]
) -> tuple[str, ...]:
    """The machines of a node's replicas. Who is which of them is all the same for those that do not
    run yet: each has the machine with the fewest before it, so that as few as one scales down to
    are still spread. The first is where it was placed: others may be near it."""
    machines = [found[part].machine for part in parts]
    free = [n for n, part in enumerate(parts) if n and running.get(part) != machines[n]]
    left = [machines[n] for n in free]
    for n in free:
        machines[n] = min(left, key=machines[:n].count)
        left.remove(machines[n])
    return tuple(machines)


def wanted(node: Node, now: int) -> int:
    """How many replicas: what the file says; where it leaves that to the load, as many as there
    are."""
    bounds = node.deploy.autoscale
    if bounds is None:
        return node.deploy.replicas or 1
    return bounds.bound(now)


def _balanced(dataflow: Dataflow, flow: Flow, reader: str) -> bool:
    """Whether no input of the reader has all replicas get what flows."""
    node, _, output = flow.source.partition("/")
    return not any(
        isinstance(wired.source, OutputSource)
        and str(wired.source) == f"{node}/{output}"
        and wired.distribution == "broadcast"
        for wired in dataflow.nodes[reader].all_inputs.values()
    )


def _share(flow: Flow, among: int) -> Flow:
    return replace(flow, rate=Rate(flow.rate.hz / among, flow.rate.bytes))
