"""The dataflow as a graph: who feeds whom, where messages begin, where they turn in circles.

A vertex is a node, or an operator as `node/operator`. Pure; laptop only. networkx is imported where
it is needed: it takes longer than all else that a command does before it speaks to machines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, TypeVar

from dora.dataflow.model import Dataflow, Input, Node, OutputSource

if TYPE_CHECKING:
    import networkx as nx

Vertex = TypeVar("Vertex", bound=Hashable)

DYNAMIC = "dynamic"  # the `path` of nodes that somebody else starts


def graph(dataflow: Dataflow) -> nx.MultiDiGraph[str]:
    """An edge per input, with the attributes `output` and `input`; a vertex has its `node`."""
    import networkx as nx

    built: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for node in dataflow.nodes.values():
        for vertex, _ in vertices(node):
            built.add_node(vertex, node=node.id)
    for node in dataflow.nodes.values():
        for vertex, inputs in vertices(node):
            for name, wired in inputs.items():
                if isinstance(wired.source, OutputSource):
                    built.add_edge(
                        vertex_of(wired.source), vertex, output=wired.source.output, input=name
                    )
    return built


def node_graph(dataflow: Dataflow) -> nx.MultiDiGraph[str]:
    """The same between nodes: operators of one node are one vertex; no self loops."""
    import networkx as nx

    built: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    built.add_nodes_from(dataflow.nodes)
    for node in dataflow.nodes.values():
        for name, wired in node.all_inputs.items():
            source = wired.source
            if isinstance(source, OutputSource) and source.node != node.id:
                output = f"{source.operator}/{source.output}" if source.operator else source.output
                built.add_edge(source.node, node.id, output=output, input=name)
    return built


def ranks(dataflow: Dataflow) -> dict[str, int]:
    """How many others are fed, one through the other, by a node: 0 for those whose outputs nobody
    reads; whoever feeds a node ranks higher. Nodes of a circle rank the same."""
    readers: dict[str, set[str]] = {node: set() for node in dataflow.nodes}
    for node in dataflow.nodes.values():
        for wired in node.all_inputs.values():
            if isinstance(wired.source, OutputSource) and wired.source.node != node.id:
                readers.setdefault(wired.source.node, set()).add(node.id)
    try:
        return _ranks(readers)
    except CycleError:
        pass
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((node, reader) for node, its in readers.items() for reader in its)
    circles = nx.condensation(graph)
    found = _ranks({circle: set(circles.successors(circle)) for circle in circles})
    return {node: found[circle] for node, circle in circles.graph["mapping"].items()}


def _ranks(readers: Mapping[Vertex, set[Vertex]]) -> dict[Vertex, int]:
    """Raises CycleError."""
    found: dict[Vertex, int] = {}
    for vertex in TopologicalSorter(readers).static_order():
        found[vertex] = max((found[reader] + 1 for reader in readers[vertex]), default=0)
    return found


def vertices(node: Node) -> Iterator[tuple[str, Mapping[str, Input]]]:
    """The vertices of a node, with their inputs."""
    if not node.operators:
        yield node.id, node.inputs
    elif node.single_operator:
        yield node.id, node.operators[0].inputs
    else:
        for operator in node.operators:
            yield f"{node.id}/{operator.id}", operator.inputs


def vertex_of(source: OutputSource) -> str:
    """The vertex that sends it."""
    return f"{source.node}/{source.operator}" if source.operator else source.node


def starters(dataflow: Dataflow) -> set[str]:
    """The vertices that act without being sent anything: sources, timers, readers of logs."""
    found: set[str] = set()
    for node in dataflow.nodes.values():
        for vertex, inputs in vertices(node):
            wired = [item.source for item in inputs.values()]
            if (
                not wired
                or node.path == DYNAMIC
                or any(not isinstance(source, OutputSource) for source in wired)
            ):
                found.add(vertex)
    return found


def unreached(dataflow: Dataflow) -> set[str]:
    """The vertices to which no message can ever come, because nothing upstream ever starts."""
    successors: dict[str, list[str]] = {}
    for node in dataflow.nodes.values():
        for vertex, inputs in vertices(node):
            successors.setdefault(vertex, [])
            for wired in inputs.values():
                if isinstance(wired.source, OutputSource):
                    successors.setdefault(vertex_of(wired.source), []).append(vertex)
    reached = set(starters(dataflow))
    todo = list(reached)
    while todo:
        for successor in successors[todo.pop()]:
            if successor not in reached:
                reached.add(successor)
                todo.append(successor)
    return set(successors) - reached


def cycles_within(dataflow: Dataflow, among: set[str]) -> list[list[str]]:
    """The cycles among some vertices that nothing else among them feeds: one shortest cycle for
    each, beginning with the vertex that the file names first."""
    if not among:
        return []
    import networkx as nx

    part = nx.DiGraph(graph(dataflow).subgraph(among))
    order = {vertex: index for index, vertex in enumerate(graph(dataflow))}
    condensed = nx.condensation(part)
    found: list[list[str]] = []
    for component in condensed:
        members: set[str] = condensed.nodes[component]["members"]
        if condensed.in_degree(component) == 0:
            start = min(members, key=order.__getitem__)
            found.append(_shortest_cycle(part.subgraph(members), start))
    return sorted(found, key=lambda cycle: order[cycle[0]])


def _shortest_cycle(part: nx.DiGraph[str], start: str) -> list[str]:
    """`part` is strongly connected, so there is one through every vertex."""
    if part.has_edge(start, start):
        return [start]
    import networkx as nx

    ways = nx.single_source_shortest_path(part, start)
    return min((ways[last] for last in part.predecessors(start)), key=len)
