"""Who reads whom in a runtime, from what the node and the runtime are told."""

from __future__ import annotations

import pytest

from dora.protocol.config import InputConfig, NodeConfig, OutputConfig
from dora.protocol.runtime import OperatorConfig, RuntimeConfig
from dora.runtime.wiring import wire


def operator(
    id: str, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()
) -> OperatorConfig:
    return OperatorConfig(id=id, kind="python", code="x.py", inputs=inputs, outputs=outputs)


def test_edges_inside_need_no_layer() -> None:
    """The node's own inputs and outputs are those that somebody outside sends or reads."""
    node = NodeConfig(
        "flow",
        "id",
        "rt",
        inputs={"a/x": InputConfig("camera/n", "shm"), "b/n": InputConfig("rt/a/n", "memory")},
        outputs={
            "a/n": OutputConfig(("memory",)),
            "a/both": OutputConfig(("memory", "zenoh")),
            "b/none": OutputConfig(()),
        },
    )
    runtime = RuntimeConfig(
        operators=(operator("a", ("x",), ("n", "both")), operator("b", ("n",), ("none",)))
    )

    found = wire(node, runtime)

    assert {("a", "n"): (("b", "n"),)} == found.inside
    assert {"a/x": (("a", "x"),)} == found.arrivals
    assert ["a/x"] == list(found.outside.inputs)
    assert {"a/both": ("zenoh",)} == {
        name: output.layers for name, output in found.outside.outputs.items()
    }


def test_inputs_with_the_same_source_share_a_subscription() -> None:
    """With the largest of their queues; not if they differ in what a subscription does."""
    camera = {"source": "camera/n", "layer": "shm"}
    tick = {"layer": "timer", "interval": 1_000_000_000}
    node = NodeConfig(
        "flow",
        "id",
        "rt",
        inputs={
            "a/x": InputConfig(**camera, queue_size=1),
            "b/y": InputConfig(**camera, queue_size=7),
            "c/z": InputConfig(**camera, timeout=2.0),
            "a/t": InputConfig("dora/timer/secs/1", **tick),
            "b/t": InputConfig("dora/timer/hz/1", **tick),
        },
    )
    runtime = RuntimeConfig(
        operators=(operator("a", ("x", "t")), operator("b", ("y", "t")), operator("c", ("z",)))
    )

    found = wire(node, runtime)

    assert {
        "a/x": (("a", "x"), ("b", "y")),
        "c/z": (("c", "z"),),
        "a/t": (("a", "t"), ("b", "t")),
    } == found.arrivals
    assert 7 == found.outside.inputs["a/x"].queue_size


def test_a_single_operators_outputs_are_the_nodes() -> None:
    """A loop to itself included."""
    node = NodeConfig(
        "flow",
        "id",
        "rt",
        inputs={"op/n": InputConfig("rt/n", "memory")},
        outputs={"n": OutputConfig(("memory", "shm"))},
    )
    runtime = RuntimeConfig(bare_outputs=True, operators=(operator("op", ("n",), ("n",)),))

    found = wire(node, runtime)

    assert {("op", "n"): (("op", "n"),)} == found.inside
    assert {"n": ("shm",)} == {name: it.layers for name, it in found.outside.outputs.items()}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "no input a/x"),
        ({"a/x": InputConfig("rt/gone/n", "memory")}, "a/x reads rt/gone/n, which nobody sends"),
    ],
)
def test_configurations_that_do_not_fit_together_are_refused(
    inputs: dict[str, InputConfig], said: str
) -> None:
    """As after a mistake in what writes them."""
    node = NodeConfig("flow", "id", "rt", inputs=inputs)
    with pytest.raises(ValueError, match=said):
        wire(node, RuntimeConfig(operators=(operator("a", ("x",)),)))
