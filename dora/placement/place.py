"""Decides which machine runs which node. Pure and deterministic; laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deploy.document import suggest
from dora.dataflow.model import Dataflow, Node
from dora.errors import Located, PlacementError
from dora.placement.bench import AWAY, Bench, Host
from dora.placement.model import Assignment, Placement

STAYS = "runs there already"


def place(
    dataflow: Dataflow,
    machines: Iterable[Host],
    *,
    available: Mapping[str, int],
    current: Mapping[str, str] | None = None,
) -> Placement:
    """A machine for every node.

    `available` are the machines that answered, with their numbers of cores; `current` says where
    nodes run now. A node goes to the machine that the flow file names; else to one that has its
    labels; nodes that are `near` each other go together. Among several machines it stays where it
    is, else goes to the one with the fewest nodes per core, the inventory's first among equals. A
    machine that is away keeps what it ran, lest it runs twice, and the nodes that can run nowhere
    else: by its id, or by labels that it alone has.

    Raises PlacementError, with an issue for every node that fits nowhere.
    """
    bench = Bench(list(machines), available)
    running = current or {}
    issues: list[Located] = []
    found: dict[str, Assignment] = {}
    waiting: list[tuple[list[Node], list[str]]] = []
    for group in _groups(dataflow):
        named, problems = _named(group, bench)
        issues += problems
        if problems:
            continue
        candidates = [named] if named else bench.matching(_labels(group))
        waiting.append((group, candidates))
    # Those that have no choice first, then those that stay, so that the rest can even things out.
    waiting.sort(key=lambda item: (len(item[1]) != 1, _stays(item[0], item[1], running) is None))
    for group, candidates in waiting:
        fitting = [id for id in candidates if not bench.lacks(id, group)]
        # A machine that is away may still run what it ran: nothing is to run twice.
        bearing = [id for id in candidates if bench.lacks(id, group) in ([], [AWAY])]
        if stays := _stays(group, bearing, running):
            machine, why = stays, STAYS
        elif len(candidates) == 1 and bench.lacks(candidates[0], group) == [AWAY]:
            machine, why = candidates[0], "is away, and nothing else will do"
        elif not fitting:
            issues += _homeless(group, candidates or bench.ids, bench)
            continue
        else:
            machine = min(fitting, key=bench.load)  # min takes the first among equals
            why = (
                "the only one that fits"
                if len(fitting) == 1
                else f"least loaded: {bench.told(machine)}"
            )
        bench.assign(machine, group)
        found.update({node.id: _assignment(node, group, machine, why) for node in group})
    if issues:
        raise PlacementError(issues)
    return Placement({node: found[node] for node in dataflow.nodes})


def _groups(dataflow: Dataflow) -> list[list[Node]]:
    """Nodes that go together, in the order of the flow file."""
    if not any(node.deploy.near for node in dataflow.nodes.values()):
        return [[node] for node in dataflow.nodes.values()]
    import networkx as nx  # it takes long to import

    together: nx.Graph[str] = nx.Graph()
    together.add_nodes_from(dataflow.nodes)
    together.add_edges_from(
        (node.id, node.deploy.near) for node in dataflow.nodes.values() if node.deploy.near
    )
    order = {id: index for index, id in enumerate(dataflow.nodes)}
    groups = [sorted(part, key=order.__getitem__) for part in nx.connected_components(together)]
    return [
        [dataflow.nodes[id] for id in group]
        for group in sorted(groups, key=lambda group: order[group[0]])
    ]


def _named(group: Sequence[Node], bench: Bench) -> tuple[str | None, list[Located]]:
    """The machine that the flow file names for the group."""
    issues: list[Located] = []
    first: Node | None = None
    for node in group:
        machine = node.deploy.machine
        if machine is None:
            continue
        mark = node.deploy.mark or node.mark
        if machine not in bench.ids:
            message = f"{node.id} is to run on {machine!r}, which the inventory does not have"
            hint = suggest(machine, bench.ids) or f"the machines are {', '.join(bench.ids)}"
            issues.append(mark.issue(message, hint))
        elif first is None:
            first = node
        elif machine != first.deploy.machine:
            message = (
                f"{node.id} is to run on {machine} and near {first.id}, "
                f"which is to run on {first.deploy.machine}"
            )
            issues.append(mark.issue(message, "name one machine for both, or drop `near`"))
    if first is None or issues:
        return None, issues
    return first.deploy.machine, issues


def _labels(group: Sequence[Node]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for node in group for pair in node.deploy.labels.items()))


def _stays(
    group: Sequence[Node], candidates: Sequence[str], running: Mapping[str, str]
) -> str | None:
    for node in group:
        if running.get(node.id) in candidates:
            return running[node.id]
    return None


def _homeless(group: Sequence[Node], candidates: Sequence[str], bench: Bench) -> list[Located]:
    """One issue for each node of a group that fits nowhere."""
    issues: list[Located] = []
    for node in group:
        mark = node.deploy.mark or node.mark
        if not candidates:
            issues.append(mark.issue(f"{node.id} fits nowhere: there is no machine", None))
            continue
        nearest = min(candidates, key=lambda id: len(bench.lacks(id, group)))
        lacks = " and ".join(bench.lacks(nearest, group))
        what = f"{node.id} fits nowhere"
        others = [other.id for other in group if other is not node]
        if others:
            what = f"{node.id}, together with {', '.join(others)}, fits nowhere"
        if len(candidates) == 1:
            issues.append(mark.issue(f"{what}: {nearest} {lacks}", None))
        else:
            issues.append(
                mark.issue(f"{what}: the nearest machine is {nearest}, which {lacks}", None)
            )
    return issues


def _assignment(node: Node, group: Sequence[Node], machine: str, why: str) -> Assignment:
    if node.deploy.machine:
        return Assignment(machine, "the flow file names it")
    if node.deploy.near:
        return Assignment(machine, f"near {node.deploy.near}")
    named = [other.id for other in group if other.deploy.machine]
    if named:
        return Assignment(machine, f"{named[0]} is to be near it")
    if labels := _labels(group):
        has = ", ".join(f"{key}={value}" for key, value in labels)
        return Assignment(machine, f"has {has}; {why}")
    return Assignment(machine, why)
