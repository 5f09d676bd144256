"""Pictures of dataflows: Mermaid text and a page of its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from dora.dataflow.draw import html, mermaid
from dora.dataflow.load import load, loads
from dora.dataflow.model import Dataflow, Mark, Node

EXAMPLES = Path(__file__).parent / "examples"
SVG = "{http://www.w3.org/2000/svg}"


def operators() -> Dataflow:
    return load(EXAMPLES / "operators.yml").dataflow


def drawing(
    dataflow: Dataflow,
    placement: dict[str, str] | None = None,
    speeds: dict[tuple[str, str], str] | None = None,
) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", html(dataflow, placement, speeds), re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def boxes(drawn: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """The rectangles by the names written in them."""
    found = {}
    for group in drawn.iter(f"{SVG}g"):
        rectangle = group.find(f"{SVG}rect")
        name = group.find(f"{SVG}text")
        assert rectangle is not None
        assert name is not None
        found[str(name.text)] = rectangle
    return found


def test_mermaid_is_drawn_as_dora_draws_it() -> None:
    """Runtimes and dora's own sources are subgraphs; shapes tell sources and sinks."""
    assert (
        mermaid(operators())
        == r"""flowchart TB
  webcam["**webcam**"]
  subgraph runtime_node["runtime-node"]
    runtime_node_cxx_operator["**cxx-operator**"]
    runtime_node_sink[/"**sink**"\]
  end
  viewer[/"**viewer**"\]
  subgraph dora
    dora_dora_timer_millis_50[\"dora/timer/millis/50"/]
  end
  dora_dora_timer_millis_50 -- tick --> webcam
  webcam -- image --> runtime_node_cxx_operator
  webcam -- image as counter --> runtime_node_cxx_operator
  runtime_node_cxx_operator -- status --> runtime_node_sink
  webcam -- image --> viewer
  runtime_node_cxx_operator -- status --> viewer
"""
    )


def test_machines_are_drawn_around_their_nodes() -> None:
    """Nodes without a machine stand free."""
    text = "nodes: [{id: a, path: a.py, outputs: [x]}, {id: b, path: b.py, inputs: {x: a/x}}]"
    dataflow = loads(text, "f.yml").dataflow
    assert (
        mermaid(dataflow, {"a": "base"})
        == r"""flowchart TB
  subgraph machine_base["base"]
    a[\"**a**"/]
  end
  b[/"**b**"\]
  a -- x --> b
"""
    )


def test_names_that_mean_something_to_mermaid_are_changed() -> None:
    """And two names never become one."""
    text = """
nodes:
  - {id: end, path: a.py, outputs: [end, a-b]}
  - {id: a.b, path: a.py, inputs: {end: end/end, x: end/a-b}}
  - {id: a-b, path: a.py, inputs: {end: end/end}}
"""
    found = mermaid(loads(text, "f.yml").dataflow)
    assert [
        'end_0[\\"**end**"/]',
        'a_b[/"**a.b**"\\]',
        'a_b_2[/"**a-b**"\\]',
        'end_0 -- "end" --> a_b',
        'end_0 -- "a-b as x" --> a_b',
        'end_0 -- "end" --> a_b_2',
    ] == [line.strip() for line in found.splitlines()[1:]]


def test_the_page_draws_every_node_and_edge() -> None:
    """A box for each vertex, one above the next; an arrow for each pair that is connected."""
    drawn = drawing(operators(), {"webcam": "base"})
    found = boxes(drawn)
    assert {
        "dora/timer/millis/50",
        "webcam",
        "runtime-node/cxx-operator",
        "runtime-node/sink",
        "viewer",
    } == set(found)
    heights = [
        float(found[name].attrib["y"])
        for name in ("dora/timer/millis/50", "webcam", "runtime-node/cxx-operator", "viewer")
    ]
    assert sorted(set(heights)) == heights
    arrows = [path for path in drawn.iter(f"{SVG}path") if path.get("class") == "edge"]
    assert 5 == len(arrows)
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"tick", "image", "image as counter", "status", "base"} <= set(texts)


def test_boxes_do_not_overlap() -> None:
    """Also with many nodes in one layer."""
    nodes = "".join(f"  - {{id: n{i}, path: a.py, inputs: {{x: s/x}}}}\n" for i in range(12))
    flow = loads(f"nodes:\n  - {{id: s, path: s.py, outputs: [x]}}\n{nodes}", "f.yml").dataflow
    found = [
        {key: float(box.attrib[key]) for key in ("x", "y", "width", "height")}
        for box in boxes(drawing(flow)).values()
    ]
    assert 13 == len(found)
    assert [] == [
        (a, b)
        for index, a in enumerate(found)
        for b in found[index + 1 :]
        if a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    ]


def test_cycles_and_self_loops_are_drawn() -> None:
    """They are legal, so there must be a picture of them."""
    drawn = drawing(load(EXAMPLES / "service.yml").dataflow)
    assert {"client", "server", "logger"} <= set(boxes(drawn))
    loop = loads("nodes: [{id: a, path: a.py, inputs: {x: a/x}, outputs: [x]}]", "f.yml").dataflow
    assert ["a"] == list(boxes(drawing(loop)))


def test_the_page_needs_nothing_from_outside() -> None:
    """It opens on a laptop without internet: no link, no script, no image."""

    class Links(HTMLParser):
        found: list[tuple[str, str]]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "link", "img", "iframe"):
                self.found.append((tag, ""))
            self.found += [(key, str(value)) for key, value in attrs if key in ("href", "src")]

    page = html(operators())
    links = Links()
    links.found = []
    links.feed(page)
    assert [] == links.found
    assert "url(http" not in page
    assert "prefers-color-scheme: dark" in page


def test_what_comes_from_the_file_is_escaped() -> None:
    """Whatever a name may be one day, it is text in the page and in Mermaid."""
    evil = '<script>"x"</script>'
    dataflow = Dataflow(f"{evil}.yml", ".", {evil: Node(evil, Mark("f", 1, 1), path="x")})
    page = html(dataflow, {evil: evil})
    assert "<script" not in page
    assert 2 <= page.count("&lt;script&gt;")
    assert evil not in mermaid(dataflow, {evil: evil})
    assert '"x"' not in mermaid(dataflow, {evil: evil})


def test_an_empty_dataflow_has_a_picture() -> None:
    """An empty list of nodes is legal."""
    dataflow = loads("nodes: []", "f.yml").dataflow
    assert "flowchart TB\n" == mermaid(dataflow)
    assert {} == boxes(drawing(dataflow))


def test_frames_of_machines_hold_their_nodes_and_no_others() -> None:
    """And do not overlap; edges between them are marked, and say how much goes there."""
    drawn = drawing(
        operators(),
        {"webcam": "base", "runtime-node": "arm", "viewer": "base"},
        {("webcam", "image"): "31.1 MB/s", ("runtime-node", "cxx-operator/status"): "1.0 kB/s"},
    )
    found = {
        name: tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for name, box in boxes(drawn).items()
    }
    frames = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in drawn.iter(f"{SVG}rect")
        if box.get("class") == "machine"
    ]
    inside = [
        {
            name
            for name, (x, y, width, height) in found.items()
            if left < x and x + width < left + wide and top < y and y + height < top + high
        }
        for left, top, wide, high in frames
    ]
    assert [
        {"webcam", "viewer", "dora/timer/millis/50"},
        {"runtime-node/cxx-operator", "runtime-node/sink"},
    ] == inside
    assert frames[0][0] + frames[0][2] < frames[1][0]
    cut = [path for path in drawn.iter(f"{SVG}path") if path.get("class") == "edge cut"]
    assert 2 == len(cut)
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"image 31.1 MB/s", "status 1.0 kB/s", "image", "status", "base", "arm"} <= set(texts)


def test_edges_between_machines_are_thick_in_mermaid() -> None:
    """With how much goes there, if that is known."""
    text = "nodes: [{id: a, path: a.py, outputs: [x]}, {id: b, path: b.py, inputs: {x: a/x}}]"
    dataflow = loads(text, "f.yml").dataflow
    where = {"a": "base", "b": "arm"}
    assert "a == x ==> b" in mermaid(dataflow, where)
    assert 'a == "x 1.0 MB/s" ==> b' in mermaid(dataflow, where, {("a", "x"): "1.0 MB/s"})


def test_labels_are_not_on_top_of_each_other() -> None:
    """Nor on boxes: the edges of one node begin at one place."""
    inputs = "inputs: {x: s/a-long-name, y: s/another-long-name}"
    nodes = "".join(f"  - {{id: n{i}, path: a.py, {inputs}}}\n" for i in range(4))
    text = f"nodes:\n  - {{id: s, path: s.py, outputs: [a-long-name, another-long-name]}}\n{nodes}"
    drawn = drawing(loads(text, "f.yml").dataflow)
    found = [it for it in drawn.iter(f"{SVG}text") if it.get("class") == "edge-label"]
    assert 8 == len(found)
    widths = [len(it.text or "") * 5.0 for it in found]
    places = [(float(it.attrib["x"]), float(it.attrib["y"])) for it in found]
    assert [] == [
        (found[a].text, found[b].text)
        for a in range(8)
        for b in range(a)
        if abs(places[a][0] - places[b][0]) < (widths[a] + widths[b]) / 2
        and abs(places[a][1] - places[b][1]) < 11
    ]


def test_a_box_says_how_many_replicas_there_are() -> None:
    """And whether they are on one machine."""
    text = """
nodes:
  - {id: a, path: a.py, deploy: {replicas: 3, spread: true}}
  - {id: b, path: a.py, deploy: {autoscale: {min: 1, max: 4, target_queue: 5}}}
"""
    drawn = drawing(loads(text, "f.yml").dataflow)
    small = [it.text for it in drawn.iter(f"{SVG}text") if it.get("class") == "small"]
    assert ["3 replicas, spread", "1 to 4 replicas"] == small
