"""Which input is meant, and how it is wired."""

from __future__ import annotations

import pytest

from deploy.profile import Profile
from deploy.unit import Unit
from dora.coordinator.status import NodeStatus
from dora.coordinator.why.collect import by_our_clock, find_input, newest_summary, wire_of
from dora.coordinator.why.situation import Wire
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, InputConfig, NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary

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
    unit = Unit("plot", ("python3",), "/", env={NODE_CONFIG: config.to_text()})
    profiles = {"base": Profile("flow", "base", (unit,))}

    expected = Wire(
        "flow", "plot", "image", "camera/frames", "zenoh", 3, "backpressure", timeout=2.0
    )
    assert expected == wire_of(SUMMARY, profiles, "plot", "image")


def test_a_dataflow_that_nobody_can_tell_of() -> None:
    """A machine with another version of dora is passed over, while others can."""
    strange = Profile("flow", "base", (), documents={DOCUMENT: "{}"})
    fine = Profile("flow", "rover", (), documents={DOCUMENT: SUMMARY.to_text()})

    assert SUMMARY == newest_summary("flow", {"base": strange, "rover": fine})
    with pytest.raises(DoraError):
        newest_summary("flow", {"base": strange})


def test_times_are_told_by_the_laptops_clock() -> None:
    """A machine that is an hour ahead says nothing of the future."""
    row = NodeStatus("flow", "rover", "plot", "backoff", since=4600.0, restarts_at=4602.0)
    ours = by_our_clock(row, 3600.0)

    assert (1000.0, 1002.0) == (ours.since, ours.restarts_at)
    assert NodeStatus("flow", "rover", "x", "unknown") == by_our_clock(
        NodeStatus("flow", "rover", "x", "unknown"), 3600.0
    )
