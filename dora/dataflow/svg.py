"""A dataflow as SVG: layers from top to bottom, so that data flows downwards. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import networkx as nx

from dora.dataflow.graph import graph
from dora.dataflow.model import Dataflow, OutputSource

_HEIGHT = 46
_GAP_X = 36
_GAP_Y = 96
_MARGIN = 16
_CHAR = 8.0  # width of a letter, roughly: browsers choose the font
_SMALL = 6.5


@dataclass
class Box:
    """`x` and `y` are the middle of it, in pixels."""

    lines: tuple[str, ...]  # the first one is its name
    builtin: bool
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        name, *small = self.lines
        return max([len(name) * _CHAR, *(len(line) * _SMALL for line in small)]) + 28


def svg(dataflow: Dataflow, placement: Mapping[str, str]) -> str:
    """An `<svg>` element, styled by the page around it; `placement` is node -> machine."""
    drawn = _drawn(dataflow)
    edges = _labelled(drawn)
    layers, ways = _layers(drawn)
    boxes = {vertex: _box(vertex, drawn.nodes[vertex], placement) for vertex in drawn}
    boxes.update({point: Box(("",), builtin=False) for way in ways.values() for point in way})
    width = max((_row_width(boxes, layer) for layer in layers), default=0.0) + 2 * _MARGIN
    for depth, layer in enumerate(layers):
        x = (width - _row_width(boxes, layer)) / 2
        for vertex in layer:
            box = boxes[vertex]
            box.x, box.y = x + box.width / 2, _MARGIN + _HEIGHT / 2 + depth * (_HEIGHT + _GAP_Y)
            x += box.width + _GAP_X
    width += 90  # room for arrows that go back up, and for the labels of self loops
    height = 2 * _MARGIN + len(layers) * (_HEIGHT + _GAP_Y) - (_GAP_Y if layers else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    parts += [_path([boxes[vertex] for vertex in (a, *ways[a, b], b)]) for a, b in edges]
    parts += [_rect(boxes[vertex]) for vertex in drawn]
    for (a, b), labels in edges.items():
        parts.append(_label(boxes[a], boxes[(*ways[a, b], b)[0]], labels))
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


def _box(vertex: str, attributes: Mapping[str, str | None], placement: Mapping[str, str]) -> Box:
    node = attributes["node"]
    if node is None:
        return Box((vertex,), builtin=True)
    machine = placement.get(node)
    return Box((vertex, f"on {machine}") if machine else (vertex,), builtin=False)


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


def _row_width(boxes: Mapping[str, Box], layer: list[str]) -> float:
    return sum(boxes[vertex].width for vertex in layer) + _GAP_X * (len(layer) - 1)


def _labelled(drawn: nx.MultiDiGraph[str]) -> dict[tuple[str, str], list[str]]:
    """One arrow for all edges between two vertices."""
    labels: dict[tuple[str, str], list[str]] = {}
    for source, target, data in drawn.edges(data=True):
        output, name = data["output"], data["input"]
        text = output if output == name else f"{output} as {name}"
        labels.setdefault((source, target), []).append(text)
    return labels


def _path(stops: list[Box]) -> str:
    start, end = stops[0], stops[-1]
    if start is end:
        way = f"M{start.x + start.width / 2:.0f} {start.y - 10:.0f} c44 -14 44 34 3 20"
    elif start.y < end.y:
        way = f"M{start.x:.0f} {start.y + _HEIGHT / 2:.0f}"
        for above, below in pairwise(stops):
            top, bottom = above.y + _HEIGHT / 2, below.y - _HEIGHT / 2
            middle = (top + bottom) / 2
            way += f" C{above.x:.0f} {middle:.0f} {below.x:.0f} {middle:.0f}"
            way += f" {below.x:.0f} {bottom:.0f}"
            if below is not end:
                way += f" V{below.y + _HEIGHT / 2:.0f}"
    else:  # within a cycle: beside each other; above going right, below going left
        side = -1 if start.x < end.x else 1
        y = start.y + side * _HEIGHT / 2
        way = (
            f"M{start.x:.0f} {y:.0f} C{start.x:.0f} {y + side * 40:.0f} "
            f"{end.x:.0f} {y + side * 40:.0f} {end.x:.0f} {y:.0f}"
        )
    return f'<path class="edge" d="{way}" marker-end="url(#arrow)"/>'


def _label(start: Box, end: Box, labels: list[str]) -> str:
    if start is end:
        x, y = start.x + start.width / 2 + 50, start.y + 4
    elif start.y < end.y:
        x, y = (start.x + end.x) / 2, (start.y + end.y) / 2
    else:
        side = -1 if start.x < end.x else 1
        x, y = (start.x + end.x) / 2, start.y + side * (_HEIGHT / 2 + 26)
    first = y - (len(labels) - 1) * 6.5
    return "".join(
        f'<text class="edge-label" x="{x:.0f}" y="{first + 13 * line:.0f}">{escape(text)}</text>'
        for line, text in enumerate(labels)
    )


def _rect(box: Box) -> str:
    left, top = box.x - box.width / 2, box.y - _HEIGHT / 2
    name, *small = box.lines
    y = box.y + (4 if not small else -3)
    texts = [f'<text class="id" x="{box.x:.0f}" y="{y:.0f}">{escape(name)}</text>']
    for line in small:
        texts.append(f'<text class="small" x="{box.x:.0f}" y="{y + 16:.0f}">{escape(line)}</text>')
    kind = "builtin" if box.builtin else "node"
    return (
        f'<g class="{kind}"><rect x="{left:.0f}" y="{top:.0f}" width="{box.width:.0f}" '
        f'height="{_HEIGHT}" rx="7"/>{"".join(texts)}</g>'
    )
