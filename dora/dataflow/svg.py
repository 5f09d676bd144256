"""A dataflow as SVG: layers from top to bottom, so that data flows downwards. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import networkx as nx

from dora.dataflow.graph import graph
from dora.dataflow.model import Dataflow, OutputSource

_HEIGHT = 46
_GAP_X = 36
_GAP_Y = 74
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
    boxes = {vertex: _box(vertex, drawn.nodes[vertex], placement) for vertex in drawn}
    layers = _layers(drawn)
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
    edges = _labelled(drawn)
    parts += [_path(boxes[a], boxes[b]) for a, b in edges]
    parts += [_rect(box) for box in boxes.values()]
    parts += [_label(boxes[a], boxes[b], labels) for (a, b), labels in edges.items()]
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


def _layers(drawn: nx.MultiDiGraph[str]) -> list[list[str]]:
    """Cycles share a layer; within one, vertices stand near the middle of what feeds them."""
    condensed = nx.condensation(nx.DiGraph(drawn))
    layers: list[list[str]] = []
    place: dict[str, float] = {}
    order = {vertex: index for index, vertex in enumerate(drawn)}
    for generation in nx.topological_generations(condensed):
        layer = [vertex for part in generation for vertex in condensed.nodes[part]["members"]]

        def wish(vertex: str) -> tuple[float, int]:
            above = [place[source] for source in drawn.predecessors(vertex) if source in place]
            return (sum(above) / len(above) if above else 0.0, order[vertex])

        layer.sort(key=wish)
        place.update({vertex: index - (len(layer) - 1) / 2 for index, vertex in enumerate(layer)})
        layers.append(layer)
    return layers


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


def _path(start: Box, end: Box) -> str:
    if start is end:
        x, y = start.x + start.width / 2, start.y
        way = f"M{x:.0f} {y - 10:.0f} c44 -14 44 34 3 20"
    elif start.y < end.y:
        top, bottom = start.y + _HEIGHT / 2, end.y - _HEIGHT / 2
        bend = (bottom - top) / 2
        way = (
            f"M{start.x:.0f} {top:.0f} C{start.x:.0f} {top + bend:.0f} "
            f"{end.x:.0f} {bottom - bend:.0f} {end.x:.0f} {bottom:.0f}"
        )
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
        x, y = (start.x + end.x) / 2, start.y + side * (_HEIGHT / 2 + 32)
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
