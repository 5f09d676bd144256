"""What is told of a decision: why, what else was possible, and what moving would bring."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.inventory import loads as inventory
from dora.dataflow.load import loads
from dora.placement.explain import Option, explain
from dora.placement.gain import Gain, Move, gain_of
from dora.placement.groups import Situation
from dora.placement.hosts import Found
from dora.placement.place import decide, situation_of

FLOW = loads(
    """
nodes:
  - id: camera
    path: camera.py
    outputs: [frames]
    output_rates: {frames: {hz: 30, bytes: 1MB}}
    deploy: {machine: cart}
  - id: detector
    path: detector.py
    inputs: {image: camera/frames}
    outputs: [boxes]
    output_rates: {boxes: {hz: 30, bytes: 100}}
    deploy: {cores: 2, apart: plot}
  - id: plot
    path: plot.py
    inputs: {boxes: detector/boxes, image: camera/frames}
    deploy: {machine: base}
""",
    "flow.yml",
).dataflow
MACHINES = inventory("machines: {cart: {}, base: {}, small: {}, spare: {}}").machines
CORES = {"cart": 4, "base": 4, "small": 1, "spare": 4}


def situation(
    running: Mapping[str, str] | None = None, cores: Mapping[str, int] = CORES
) -> Situation:
    return situation_of(
        FLOW,
        MACHINES.values(),
        available=cores,
        current=running,
        found={"cart": Found(devices=("/dev/video0",))},
    )


def gain(running: Mapping[str, str]) -> Gain:
    now = situation(running)
    kept, moved = decide(FLOW, now), decide(FLOW, now, keep=False)
    return gain_of(FLOW, now, kept.machines, moved.machines)


def test_each_other_machine_is_told_with_what_it_would_cost() -> None:
    """Or with what rules it out."""
    now = situation()
    found = decide(FLOW, now)
    told = explain(FLOW, now, found.machines, {node: it.reason for node, it in found.items()})
    detector = told[1]
    assert ("detector",) == detector.nodes
    assert "cart" == detector.machine
    assert ("detector takes 2 exclusive cores", "detector is to be apart from plot") == (
        detector.wishes
    )
    assert (
        Option("base", None, "is to be apart from plot, there"),
        Option("small", None, "has 1 of the 2 exclusive cores"),
        Option("spare", 30e6, "30.0 MB/s more over the network"),
    ) == detector.options
    assert Option("base", None, "camera is to run on cart") == told[0].options[0]


def test_a_node_that_stays_out_of_habit_is_told_where_it_would_be_better() -> None:
    """And by which command."""
    now = situation({"detector": "spare"})
    found = decide(FLOW, now)
    told = explain(FLOW, now, found.machines, {node: it.reason for node, it in found.items()})
    assert (
        Option("cart", -30e6, "better now; `dora rebalance` moves what runs")
        == (told[1].options[0])
    )


def test_the_gain_tells_what_goes_where_now_and_after() -> None:
    """An edge at a time, and what moves."""
    found = gain({"camera": "cart", "detector": "spare", "plot": "base"})
    assert found.real
    assert (Move("detector", "spare", "cart"),) == found.moves
    assert [
        ("camera/frames", ("base", "spare"), ("base",)),
        ("detector/boxes", ("base",), ("base",)),
    ] == [(edge.flow.source, edge.now, edge.after) for edge in found.edges]
    assert (60e6 + 3000, 30e6 + 3000) == (found.bytes_now, found.bytes_after)


def test_there_is_no_gain_where_all_is_as_it_should_be() -> None:
    """Nothing moves."""
    found = gain({"camera": "cart", "detector": "cart", "plot": "base"})
    assert () == found.moves
    assert not found.real


def test_evenness_alone_is_no_reason_to_restart_anything() -> None:
    """Two nodes that speak to nobody, on the smaller of two machines."""
    flow = loads("nodes: [{id: a, path: a.py}, {id: b, path: b.py}]", "f.yml").dataflow
    now = situation_of(
        flow, MACHINES.values(), available=CORES, current={"a": "small", "b": "small"}
    )
    moved = decide(flow, now, keep=False).machines
    found = gain_of(flow, now, {"a": "small", "b": "small"}, moved)
    assert found.moves
    assert not found.real


def test_a_crowded_machine_is_reason_enough() -> None:
    """Four nodes that use a core each, on one core."""
    nodes = ", ".join(f"{{id: n{i}, path: a.py}}" for i in range(4))
    flow = loads(f"nodes: [{nodes}]", "f.yml").dataflow
    running = {f"n{i}": "small" for i in range(4)}
    now = situation_of(
        flow,
        MACHINES.values(),
        available=CORES,
        current=running,
        usage=dict.fromkeys(running, 1.0),
    )
    assert gain_of(flow, now, running, decide(flow, now, keep=False).machines).real
