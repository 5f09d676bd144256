"""A dataflow as SVG: layers from top to bottom, so that data flows downwards. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise

import networkx as nx

from dora.dataflow.boxes import GAP_Y, HEIGHT, MARGIN, TITLE, Box, frames, set_columns, set_rows
from dora.dataflow.graph import graph
from dora.dataflow.labels import label_of, set_apart
from dora.dataflow.model import Dataflow, OutputSource

Speeds = Mapping[tuple[str, str], str]  # (node, output) -> how much it sends, in words


def svg(dataflow: Dataflow, placement: Mapping[str, str], speeds: Speeds | None = None) -> str:
    """An `<svg>` element, styled by the page around it. `placement` is node -> machine; these are
    drawn around their nodes, and `speeds` are written at the edges between them."""
    drawn = _drawn(dataflow)
    cut = {(a, b) for a, b in drawn.edges() if _between(drawn, placement, a, b)}
    edges = _labelled(drawn, cut, speeds or {})
    layers, ways = _layers(drawn)
    boxes = {
        vertex: Box((vertex, *_small(dataflow, values["node"])), values["node"] is None)
        for vertex, values in drawn.nodes.items()
    }
    boxes.update({point: Box(("",), builtin=False) for way in ways.values() for point in way})
    column_of = _columns(drawn, ways, placement)
    width = set_columns(boxes, layers, column_of) if placement else set_rows(boxes, layers)
    width += 90  # room for arrows that go back up, and for the labels of self loops
    height = (
        2 * (MARGIN + (TITLE if placement else 0))
        + len(layers) * (HEIGHT + GAP_Y)
        - (GAP_Y if layers else 0)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<defs>{_arrow('arrow')}{_arrow('arrow-cut')}</defs>",
    ]
    if placement:
        parts += frames(boxes, {vertex: column_of[vertex] for vertex in drawn})
    for a, b in edges:
        parts.append(_path([boxes[vertex] for vertex in (a, *ways[a, b], b)], (a, b) in cut))
    parts += [_rect(boxes[vertex]) for vertex in drawn]
    labels = [
        label_of(boxes[a], boxes[(*ways[a, b], b)[0]], lines) for (a, b), lines in edges.items()
    ]
    parts += [it.svg() for it in set_apart(labels, [boxes[vertex] for vertex in drawn])]
    return "\n".join([*parts, "</svg>"])


def _drawn(dataflow: Dataflow) -> nx.MultiDiGraph[str]:
    """The graph with a vertex for each timer and for logs."""
    drawn = graph(dataflow)
    for node in dataflow.nodes.values():
        for name, wired in node.all_inputs.items():
            if not isinstance(wired.source, OutputSource):
                operator, _, inner = name.partition("/")
                several = node.operators and not node.single_operator
                target = f"{node.id}/{operator}" if several else node.id
                label = inner if node.operators else name
                drawn.add_node(str(wired.source), node=None)
                drawn.add_edge(str(wired.source), target, output=label, input=label)
    return drawn


def _columns(
    drawn: nx.MultiDiGraph[str],
    ways: Mapping[tuple[str, str], tuple[str, ...]],
    placement: Mapping[str, str],
) -> dict[str, str | None]:
    """The machine of everything that is drawn: of a timer that of whom it wakes first, of the point
    of an edge that of its producer."""
    found: dict[str, str | None] = {}
    for vertex in sorted(drawn, key=lambda vertex: drawn.nodes[vertex]["node"] is None):
        node = drawn.nodes[vertex]["node"]
        owner = next(drawn.successors(vertex)) if node is None else vertex
        found[vertex] = found[owner] if node is None else placement.get(node)
    found.update({point: found[a] for (a, _), way in ways.items() for point in way})
    return found


def _between(drawn: nx.MultiDiGraph[str], placement: Mapping[str, str], a: str, b: str) -> bool:
    """Whether an edge leaves its machine."""
    ends = [placement.get(drawn.nodes[vertex]["node"]) for vertex in (a, b)]
    return None not in ends and ends[0] != ends[1]


def _layers(
    drawn: nx.MultiDiGraph[str],
) -> tuple[list[list[str]], dict[tuple[str, str], tuple[str, ...]]]:
    """Who stands in which layer, from left to right, and by which points each edge goes.

    The members of a cycle share a layer. An edge that passes layers has a point in each of them,
    which takes up room as vertices do: so it goes beside boxes, not behind them. Vertices and
    points stand near the middle of what feeds them.
    """
    condensed = nx.condensation(nx.DiGraph(drawn))
    depth: dict[str, int] = {}
    for level, generation in enumerate(nx.topological_generations(condensed)):
        for part in generation:
            depth.update(dict.fromkeys(condensed.nodes[part]["members"], level))
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    before: dict[str, list[str]] = {vertex: [] for vertex in drawn}
    for vertex in drawn:
        layers[depth[vertex]].append(vertex)
    ways: dict[tuple[str, str], tuple[str, ...]] = {}
    for source, target in dict.fromkeys(drawn.edges()):
        points = []
        last = source
        for level in range(depth[source] + 1, depth[target]):
            point = f"{source}\n{target}\n{level}"  # no vertex has a line break in its name
            layers[level].append(point)
            before[point] = [last]
            points.append(point)
            last = point
        before[target].append(last)
        ways[source, target] = tuple(points)
    place: dict[str, float] = {}
    for layer in layers:
        wishes = {
            vertex: sum(above) / len(above) if above else 0.0
            for vertex in layer
            for above in [[place[source] for source in before[vertex] if source in place]]
        }
        layer.sort(key=wishes.__getitem__)
        place.update({vertex: index - (len(layer) - 1) / 2 for index, vertex in enumerate(layer)})
    return layers, ways


def _labelled(
    drawn: nx.MultiDiGraph[str], cut: set[tuple[str, str]], speeds: Speeds
) -> dict[tuple[str, str], list[str]]:
    """One arrow for all edges between two vertices."""
    labels: dict[tuple[str, str], list[str]] = {}
    for source, target, data in drawn.edges(data=True):
        output, name = data["output"], data["input"]
        text = output if output == name else f"{output} as {name}"
        if (source, target) in cut:
            node, operator = drawn.nodes[source]["node"], source.partition("/")[2]
            text += f" {speeds.get((node, f'{operator}/{output}' if operator else output), '')}"
        labels.setdefault((source, target), []).append(text.strip())
    return labels


def _path(stops: list[Box], cut: bool) -> str:
    start, end = stops[0], stops[-1]
    if start is end:
        way = f"M{start.x + start.width / 2:.0f} {start.y - 10:.0f} c44 -14 44 34 3 20"
    elif start.y < end.y:
        way = f"M{start.x:.0f} {start.y + HEIGHT / 2:.0f}"
        for above, below in pairwise(stops):
            top, bottom = above.y + HEIGHT / 2, below.y - HEIGHT / 2
            middle = (top + bottom) / 2
            way += f" C{above.x:.0f} {middle:.0f} {below.x:.0f} {middle:.0f}"
            way += f" {below.x:.0f} {bottom:.0f}"
            if below is not end:
                way += f" V{below.y + HEIGHT / 2:.0f}"
    else:  # within a cycle: beside each other; above going right, below going left
        side = -1 if start.x < end.x else 1
        y = start.y + side * HEIGHT / 2
        way = (
            f"M{start.x:.0f} {y:.0f} C{start.x:.0f} {y + side * 40:.0f} "
            f"{end.x:.0f} {y + side * 40:.0f} {end.x:.0f} {y:.0f}"
        )
    kind, arrow = ("edge cut", "arrow-cut") if cut else ("edge", "arrow")
    return f'<path class="{kind}" d="{way}" marker-end="url(#{arrow})"/>'


def _arrow(name: str) -> str:
    """As large on thick lines as on thin ones."""
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="11" '
        'markerHeight="11" markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        '<path d="M0 0 8 4 0 8z"/></marker>'
    )


def _small(dataflow: Dataflow, node: str | None) -> tuple[str, ...]:
    """What a box says of a node besides its name."""
    deploy = dataflow.nodes[node].deploy if node is not None else None
    if deploy is None or not deploy.has_replicas:
        return ()
    bounds = deploy.autoscale
    count = f"{bounds.min} to {bounds.max}" if bounds else str(deploy.least)
    plural = "" if count == "1" else "s"
    return (f"{count} replica{plural}{', spread' if deploy.spread else ''}",)


def _rect(box: Box) -> str:
    left, top = box.x - box.width / 2, box.y - HEIGHT / 2
    name, *small = box.lines
    y = box.y + (4 if not small else -3)
    texts = [f'<text class="id" x="{box.x:.0f}" y="{y:.0f}">{escape(name)}</text>']
    for line in small:
        texts.append(f'<text class="small" x="{box.x:.0f}" y="{y + 16:.0f}">{escape(line)}</text>')
    kind = "builtin" if box.builtin else "node"
    return (
        f'<g class="{kind}"><rect x="{left:.0f}" y="{top:.0f}" width="{box.width:.0f}" '
        f'height="{HEIGHT}" rx="7"/>{"".join(texts)}</g>'
    )
