"""A dataflow as a picture: Mermaid text, or a page that draws itself without internet. Pure.

Laptop only. Everything that comes from a file is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from dora.dataflow.model import Dataflow, Input, Node, OutputSource
from dora.dataflow.svg import Speeds, svg


def mermaid(
    dataflow: Dataflow,
    placement: Mapping[str, str] | None = None,
    speeds: Speeds | None = None,
) -> str:
    """Mermaid's flowchart. With `placement` (node -> machine) machines are drawn around nodes; the
    edges between them are thick, and have what `speeds` says of (node, output)."""
    names = _Names()
    lines = ["flowchart TB"]
    machines = placement or {}
    for machine in dict.fromkeys(machines.get(node) for node in dataflow.nodes):
        members = [node for node in dataflow.nodes.values() if machines.get(node.id) == machine]
        drawn = [line for node in members for line in _node(names, node)]
        if machine is None:
            lines += [f"  {line}" for line in drawn]
        else:
            title = _text(machine)
            lines.append(f'  subgraph {names("machine", machine)}["{title}"]')
            lines += [f"    {line}" for line in drawn]
            lines.append("  end")
    builtin = sorted(
        {
            str(wired.source)
            for node in dataflow.nodes.values()
            for wired in node.all_inputs.values()
            if not isinstance(wired.source, OutputSource)
        }
    )
    if builtin:
        lines.append("  subgraph dora")
        lines += [f'    {names("dora", text)}[\\"{_text(text)}"/]' for text in builtin]
        lines.append("  end")
    for node in dataflow.nodes.values():
        for target, wired in _wired(node):
            lines.append("  " + _edge(names, target, wired, machines, speeds or {}))
    return "\n".join(lines) + "\n"


def html(
    dataflow: Dataflow,
    placement: Mapping[str, str] | None = None,
    speeds: Speeds | None = None,
) -> str:
    """One page with the graph as SVG and its Mermaid text; it needs nothing but a browser."""
    title = escape(dataflow.file.rpartition("/")[2] or "dataflow")
    return _PAGE.format(
        title=title,
        svg=svg(dataflow, placement or {}, speeds),
        mermaid=escape(mermaid(dataflow, placement, speeds)),
    )


class _Names:
    """Identifiers that Mermaid takes, one for each thing however it is called."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}

    def __call__(self, kind: str, name: str) -> str:
        if (kind, name) not in self._given:
            plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in name)
            wanted = plain if kind == "node" else f"{kind}_{plain}"
            # `end`, `graph` and the like mean something to Mermaid.
            if wanted.lower() in _WORDS or wanted in self._given.values():
                wanted = f"{wanted}_{len(self._given)}"
            self._given[kind, name] = wanted
        return self._given[kind, name]


_WORDS = {"end", "graph", "flowchart", "subgraph", "style", "class", "click", "dora", "default"}


def _node(names: _Names, node: Node) -> Iterator[str]:
    if not node.operators or node.single_operator:
        yield _box(names("node", node.id), node.id, bool(node.all_inputs), bool(node.all_outputs))
        return
    yield f'subgraph {names("node", node.id)}["{_text(node.id)}"]'
    for operator in node.operators:
        name = names("node", f"{node.id}/{operator.id}")
        yield "  " + _box(name, operator.id, bool(operator.inputs), bool(operator.outputs))
    yield "end"


def _box(name: str, title: str, has_inputs: bool, has_outputs: bool) -> str:
    label = f'"**{_text(title)}**"'
    if not has_inputs:
        return f"{name}[\\{label}/]"
    return f"{name}[{label}]" if has_outputs else f"{name}[/{label}\\]"


def _wired(node: Node) -> Iterator[tuple[str, Input]]:
    for wired in node.inputs.values():
        yield node.id, wired
    for operator in node.operators:
        target = node.id if node.single_operator else f"{node.id}/{operator.id}"
        for wired in operator.inputs.values():
            yield target, wired


def _edge(
    names: _Names, target: str, wired: Input, machines: Mapping[str, str], speeds: Speeds
) -> str:
    to = names("node", target)
    source = wired.source
    if not isinstance(source, OutputSource):
        return f"{names('dora', str(source))} -- {_edge_text(wired.name)} --> {to}"
    start = f"{source.node}/{source.operator}" if source.operator else source.node
    label = source.output if source.output == wired.name else f"{source.output} as {wired.name}"
    ends = machines.get(source.node), machines.get(target.partition("/")[0])
    if None in ends or ends[0] == ends[1]:
        return f"{names('node', start)} -- {_edge_text(label)} --> {to}"
    speed = speeds.get((source.node, str(source).partition("/")[2]), "")
    return f"{names('node', start)} == {_edge_text(f'{label} {speed}'.strip())} ==> {to}"


def _edge_text(label: str) -> str:
    plain = all(char.isascii() and (char.isalnum() or char in " _") for char in label)
    return label if plain and not _WORDS & set(label.lower().split()) else f'"{_text(label)}"'


def _text(text: str) -> str:
    """Text inside of Mermaid's quotes."""
    return "".join(char if char.isalnum() or char in " _./-" else f"#{ord(char)};" for char in text)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2733; --paper: #fff; --box: #eef3f8; --line: #5b7083;
  --accent: #b85c00; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4ebf2; --paper: #14191f; --box: #232c36; --line: #8fa3b5; --accent: #f0a04b; }}
}}
body {{ margin: 1.5rem; font: 15px/1.4 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }}
figure {{ margin: 0; overflow-x: auto; }}
svg text {{ fill: var(--ink); font: 13px system-ui, sans-serif; text-anchor: middle; }}
svg .id {{ font-weight: 600; }}
svg .small {{ font-size: 11px; }}
svg .edge-label {{ font-size: 11px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }}
svg rect {{ fill: var(--box); stroke: var(--line); }}
svg .builtin rect {{ stroke-dasharray: 4 3; }}
svg .builtin text {{ fill: var(--accent); }}
svg path.edge {{ fill: none; stroke: var(--line); stroke-width: 1.4; }}
svg path.cut {{ stroke: var(--accent); stroke-width: 2.6; }}
svg rect.machine {{ fill: none; stroke: var(--line); stroke-dasharray: 7 4; }}
svg text.machine {{ font-weight: 600; fill: var(--accent); text-anchor: start; }}
svg marker path {{ fill: var(--line); }}
svg #arrow-cut path {{ fill: var(--accent); }}
pre {{ overflow-x: auto; padding: .8rem; background: var(--box); }}
</style>
</head>
<body>
<h1>{title}</h1>
<figure>
{svg}
</figure>
<details><summary>Mermaid</summary><pre>{mermaid}</pre></details>
</body>
</html>
"""
