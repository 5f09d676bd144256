"""The layer of each edge follows from where its ends are placed, and from what the file asks."""

from __future__ import annotations

import pytest

from dora.compile.wiring import Edge, connected, crossing, edges, inputs, layers_of, outputs
from dora.dataflow.load import loads
from dora.errors import DataflowError, DoraError
from dora.protocol.config import OutputConfig

FLOW = """\
nodes:
  - {id: camera, path: a.py, inputs: {t: dora/timer/millis/10}, outputs: [image, health]}
  - {id: detect, path: b.py, inputs: {image: camera/image}, outputs: [boxes]}
  - {id: plot, path: c.py, inputs: {image: camera/image, boxes: detect/boxes}}
"""
PLACED = {"camera": "rover", "detect": "rover", "plot": "base"}


def test_shared_memory_within_a_machine_and_zenoh_between_machines() -> None:
    """The default."""
    assert (
        Edge("camera", "image", "detect", "image", "shm"),
        Edge("camera", "image", "plot", "image", "zenoh"),
        Edge("detect", "boxes", "plot", "boxes", "zenoh"),
    ) == edges(loads(FLOW).dataflow, PLACED)


def test_an_output_uses_the_layers_of_its_readers_and_no_others() -> None:
    """What nobody reads is sent nowhere."""
    dataflow = loads(FLOW).dataflow
    wiring = edges(dataflow, PLACED)

    assert {
        "image": OutputConfig(layers=("shm", "zenoh")),
        "health": OutputConfig(layers=()),
    } == outputs(dataflow.nodes["camera"], wiring)


def test_inputs_name_their_layer_and_timers_need_none() -> None:
    """A node opens what its inputs need."""
    dataflow = loads(FLOW).dataflow
    wiring = edges(dataflow, PLACED)

    assert {"t": "timer"} == {
        k: v.layer for k, v in inputs(dataflow.nodes["camera"], wiring).items()
    }
    assert {"image": "zenoh", "boxes": "zenoh"} == {
        k: v.layer for k, v in inputs(dataflow.nodes["plot"], wiring).items()
    }
    assert frozenset({"shm", "zenoh"}) == layers_of("detect", wiring)


def test_nothing_crosses_when_all_is_on_one_machine() -> None:
    """No router, no port, no keys."""
    wiring = edges(loads(FLOW).dataflow, dict.fromkeys(PLACED, "rover"))

    assert {"shm"} == {edge.layer for edge in wiring}
    assert frozenset() == crossing(wiring, dict.fromkeys(PLACED, "rover"))
    assert frozenset({"rover", "base"}) == crossing(edges(loads(FLOW).dataflow, PLACED), PLACED)


def test_the_file_may_ask_for_zenoh_everywhere() -> None:
    """`communication: {layer: zenoh}`."""
    flow = loads("communication: {layer: zenoh}\n" + FLOW).dataflow

    assert {"zenoh"} == {edge.layer for edge in edges(flow, PLACED)}


QUALITIES = """\
nodes:
  - id: camera
    path: a.py
    outputs: [image, events]
    output_qos: {image: {priority: bulk}, events: {delivery: reliable, cache: 50}}
  - {id: here, path: b.py, inputs: {image: camera/image, events: camera/events}}
  - id: there
    path: c.py
    inputs: {image: camera/image, events: camera/events}
"""


def test_only_what_crosses_machines_is_told_how() -> None:
    """So that nothing else restarts when it changes. A queue holds twice what may come at once."""
    flow = loads(QUALITIES).dataflow
    wiring = edges(flow, {"camera": "rover", "here": "rover", "there": "base"})

    assert {
        "image": OutputConfig(layers=("shm", "zenoh"), priority="bulk"),
        "events": OutputConfig(layers=("shm", "zenoh"), cache=50),
    } == outputs(flow.nodes["camera"], wiring)
    told = {
        node: {
            name: (it.queue_size, it.cache) for name, it in inputs(flow.nodes[node], wiring).items()
        }
        for node in ("here", "there")
    }
    assert {
        "here": {"image": (10, 0), "events": (100, 0)},
        "there": {"image": (10, 0), "events": (100, 50)},
    } == told

    wiring = edges(flow, dict.fromkeys(("camera", "here", "there"), "rover"))
    assert {OutputConfig(layers=("shm",))} == set(outputs(flow.nodes["camera"], wiring).values())


def test_shared_memory_between_machines_is_refused_with_both_ends() -> None:
    """The message says which edge, which machines, and what to do."""
    flow = loads("communication: {layer: shm}\n" + FLOW).dataflow

    with pytest.raises(DoraError, match=r"flow\.yml:5:.*'image'.*'plot'.*'rover'.*'base'"):
        edges(flow, PLACED)


def test_a_direct_link_names_the_router_of_the_senders_machine() -> None:
    """Only where the data comes from another machine; other inputs ask nobody."""
    direct = FLOW.replace(
        "{image: camera/image, b", "{image: {source: camera/image, link: direct}, b"
    )
    dataflow = loads(direct).dataflow
    wiring = edges(dataflow, PLACED)

    found = inputs(dataflow.nodes["plot"], wiring, {"camera": "10.0.0.7:7447", "detect": "x:1"})
    assert {"image": "10.0.0.7:7447", "boxes": ""} == {k: v.at for k, v in found.items()}
    assert ("camera",) == connected("plot", wiring)
    assert ("plot",) == connected("camera", wiring)
    assert () == connected("detect", wiring)

    together = edges(dataflow, dict.fromkeys(PLACED, "base"))
    assert () == connected("plot", together)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("{source: dora/timer/millis/5, link: direct}", "a timer ticks in the node"),
        ("{source: camera/image, link: direct}", "camera has replicas"),
    ],
)
def test_a_direct_link_is_between_two_processes(line: str, wrong: str) -> None:
    """Said of the file, before anything is placed."""
    text = FLOW.replace("outputs: [image, health]", "outputs: [image], deploy: {replicas: 2}")
    with pytest.raises(DataflowError) as caught:
        loads(text.replace("{image: camera/image, b", f"{{image: {line}, b"))
    assert wrong in str(caught.value)
