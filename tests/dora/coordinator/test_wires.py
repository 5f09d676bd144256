"""How an input is wired, and how fast its counts grow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.profile import Profile
from deploy.unit import Unit
from dora.coordinator.status import NodeStatus
from dora.coordinator.wires import Count, Wire, count, newest_summary, wire_of
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, InputConfig, NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary
from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import InputWay, NodeWays, to_text, without_ways

PLOT = NodeStatus("flow", "rover", "plot", "running", pid=7)
SUMMARY = DataflowSummary(
    "flow",
    {
        "camera": NodeSummary("base", "", {"tick": "dora/timer/millis/10"}, ("frames",)),
        "plot": NodeSummary("base", "", {"image": "camera/frames", "boxes": "vision/find/boxes"}),
        "vision": NodeSummary(
            "rover", "", {"find/image": "camera/frames", "sort/boxes": "vision/find/boxes"}
        ),
    },
)


def test_the_layer_follows_from_the_machines() -> None:
    """Where the consumer's own machine does not tell."""
    layers = {
        name: wire_of(SUMMARY, {}, *name).layer
        for name in (
            ("camera", "tick"),
            ("plot", "image"),
            ("plot", "boxes"),
            ("vision", "sort/boxes"),
        )
    }
    assert ["timer", "shm", "zenoh", "memory"] == list(layers.values())


def test_what_the_consumer_was_told_counts() -> None:
    """Its queue, and a layer that the flow file chose."""
    wired = InputConfig("camera/frames", "zenoh", 3, "backpressure", timeout=2.0)
    config = NodeConfig("flow", "id", "plot", {"image": wired})
    told = without_ways(config).to_text()
    unit = Unit("plot", ("python3",), "/", env={NODE_CONFIG: told})
    documents = {WAYS: to_text({"plot": NodeWays.of(config)})}
    profiles = {"base": Profile("flow", "base", (unit,), documents)}

    expected = Wire(
        "flow", "plot", "image", "camera/frames", "zenoh", 3, "backpressure", timeout=2.0
    )
    assert expected == wire_of(SUMMARY, profiles, "plot", "image")


def test_a_configuration_that_lies_in_a_file_leaves_what_ways_tell() -> None:
    """The layer, and where a direct link is called."""
    unit = Unit("plot", ("python3",), "/", env={NODE_CONFIG: "@/somewhere/node.json"})
    told = NodeWays(inputs={"image": InputWay("direct", at="10.0.0.1:7447")})
    profiles = {"base": Profile("flow", "base", (unit,), {WAYS: to_text({"plot": told})})}

    expected = Wire("flow", "plot", "image", "camera/frames", "direct", at="10.0.0.1:7447")
    assert expected == wire_of(SUMMARY, profiles, "plot", "image")


def test_a_dataflow_that_nobody_can_tell_of() -> None:
    """A machine with another version of dora is passed over, while others can."""
    strange = Profile("flow", "base", (), documents={DOCUMENT: "{}"})
    fine = Profile("flow", "rover", (), documents={DOCUMENT: SUMMARY.to_text()})

    assert SUMMARY == newest_summary("flow", {"base": strange, "rover": fine})
    with pytest.raises(DoraError):
        newest_summary("flow", {"base": strange})


def test_rates_are_of_one_process() -> None:
    """After a restart its counts begin anew: nobody can say how fast they grow."""
    before = replace(PLOT, traffic=Traffic.of({"image": InputTraffic(10, 1)}, {}))
    after = replace(PLOT, traffic=Traffic.of({"image": InputTraffic(40, 2)}, {}))

    assert Count(40, 10.0) == count(before, after, 3.0, "received", "image")
    assert Count(2, 1 / 3) == count(before, after, 3.0, "dropped", "image")
    assert Count(40) == count(replace(before, pid=6), after, 3.0, "received", "image")
    assert Count() == count(before, replace(after, traffic=None), 3.0, "received", "image")


def test_what_a_node_with_many_edges_does_not_name_is_not_zero() -> None:
    """Its sums are there, its names are not: nobody knows."""
    many = replace(PLOT, traffic=Traffic(received=10, sent=10))

    assert Count() == count(many, many, 1.0, "received", "image")
    assert Count() == count(many, many, 1.0, "sent", "frames")


def test_an_operator_that_another_one_feeds_is_counted_as_a_whole() -> None:
    """There are no counts of inputs within a runtime."""
    told = OperatorTraffic("running", 0, 42, *[0] * 10)
    runtime = replace(PLOT, traffic=Traffic(received=1, operators={"op": told}))

    assert 42 == count(runtime, runtime, 1.0, "received", "op/x").total
