"""Which input is meant, and how it is wired."""

from __future__ import annotations

import pytest

from dora.coordinator.onlooker import TCP
from dora.coordinator.status import NodeStatus
from dora.coordinator.why.collect import Target, by_our_clock, find_input, ways_to_try
from dora.coordinator.wires import Wire
from dora.errors import DoraError
from dora.protocol.dataflow import DataflowSummary, NodeSummary, RouterSummary

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


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("plot/image", ("plot", "image")),
        ("vision/find/image", ("vision", "find/image")),
        ("find/image", ("vision", "find/image")),
        ("camera", ("camera", "tick")),
    ],
)
def test_an_input_is_found_by_its_name(target: str, found: tuple[str, str]) -> None:
    """The whole of it, or what is unambiguous."""
    assert found == find_input(SUMMARY, target)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("plot", ("several", "plot/image, plot/boxes")),
        ("plot/imge", ("no input 'imge'", "plot/image")),
        ("nobody/x", ("no such input", "camera/tick")),
    ],
)
def test_an_input_that_is_not_there_is_told_with_those_that_are(
    target: str, words: tuple[str, ...]
) -> None:
    """And with something to type."""
    with pytest.raises(DoraError) as raised:
        find_input(SUMMARY, target)
    assert [word for word in words if word not in raised.value.message] == []
    assert raised.value.hint


def test_times_are_told_by_the_laptops_clock() -> None:
    """A machine that is an hour ahead says nothing of the future."""
    row = NodeStatus("flow", "rover", "plot", "backoff", since=4600.0, restarts_at=4602.0)
    ours = by_our_clock(row, 3600.0)

    assert (1000.0, 1002.0) == (ours.since, ours.restarts_at)
    assert NodeStatus("flow", "rover", "x", "unknown") == by_our_clock(
        NodeStatus("flow", "rover", "x", "unknown"), 3600.0
    )


def test_an_input_of_replicas_is_one_of_theirs() -> None:
    """Which one is to be said; by the node's name alone it is clear if there is one."""
    inputs = {"image": "camera/frames"}
    nodes = {
        name: NodeSummary("base", "", inputs, replica_of="detect")
        for name in ("detect.1", "detect.2")
    }

    with pytest.raises(DoraError) as raised:
        find_input(DataflowSummary("flow", nodes), "detect/image")
    assert "detect.1/image, detect.2/image" in raised.value.message
    del nodes["detect.2"]
    assert ("detect.1", "image") == find_input(DataflowSummary("flow", nodes), "detect/image")


@pytest.mark.parametrize(("layer", "at"), [("shm", ""), ("zenoh", ""), ("direct", "10.0.0.1:7450")])
def test_what_machines_ask_each_other_follows_from_the_layer(layer: str, at: str) -> None:
    """Routers by UDP; and by TCP the reader of a direct link, where it was told to call."""
    routers = {name: RouterSummary(f"{name}.local", 7447, "") for name in ("base", "rover")}
    summary = DataflowSummary("flow", SUMMARY.nodes, routers)
    wire = Wire("flow", "vision", "find/image", "camera/frames", layer, at=at)
    base, rover = (ways_to_try(summary, wire, it, ["base", "rover"]) for it in ("base", "rover"))

    by_udp = [] if layer == "shm" else [Target("base", "base.local", 7447)]
    by_tcp = [Target("base", "10.0.0.1", 7450, TCP)] if at else []
    assert by_udp + by_tcp == rover
    assert ([] if layer == "shm" else [Target("rover", "rover.local", 7447)]) == base
