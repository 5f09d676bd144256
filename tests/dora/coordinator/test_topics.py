"""Outputs with their readers, from what the machines tell."""

from __future__ import annotations

import pytest

from dora.coordinator.status import NodeStatus
from dora.coordinator.topics import topic_of, topics
from dora.coordinator.wires import Count, Looks
from dora.errors import DoraError
from dora.protocol.dataflow import DataflowSummary, NodeSummary
from dora.protocol.traffic import InputTraffic, Traffic

SUMMARY = DataflowSummary(
    "flow",
    {
        "camera": NodeSummary("base", "", {"t": "dora/timer/hz/5"}, ("frames", "depth")),
        "near": NodeSummary("base", "", {"image": "camera/frames"}),
        "far": NodeSummary("rover", "", {"image": "camera/frames"}, ("frames",)),
    },
)


def rows(sent: int, received: int) -> list[NodeStatus]:
    camera = Traffic.of({}, {"frames": sent, "depth": 0})
    near = Traffic.of({"image": InputTraffic(received, 1)}, {})
    return [
        NodeStatus("flow", "base", "camera", "running", pid=1, traffic=camera),
        NodeStatus("flow", "base", "near", "backoff", pid=2, traffic=near),
    ]


FOUND = topics(SUMMARY, {}, Looks(rows(10, 8), rows(30, 18), 2.0))


def test_each_output_has_its_counts_and_readers() -> None:
    """Also one that nobody reads; of a machine that is away nobody knows anything."""
    assert ["camera/frames", "camera/depth", "far/frames"] == [it.name for it in FOUND]
    frames, depth, away = FOUND
    assert (Count(30, 10.0), Count(0, 0.0), Count()) == (frames.sent, depth.sent, away.sent)
    assert ("running", "unknown") == (frames.state, away.state)
    assert ("shm", "zenoh") == frames.layers
    near, far = frames.readers
    assert ("near/image", "backoff", Count(18, 5.0), Count(1, 0.0)) == (
        near.wire.where,
        near.state,
        near.received,
        near.dropped,
    )
    assert ("far/image", "rover", "unknown", Count()) == (
        far.wire.where,
        far.machine,
        far.state,
        far.received,
    )
    assert () == depth.readers


@pytest.mark.parametrize(
    ("name", "found"),
    [("camera/depth", "camera/depth"), ("far", "far/frames"), ("depth", "camera/depth")],
)
def test_a_topic_is_found_by_its_name(name: str, found: str) -> None:
    """The whole of it, or what is unambiguous."""
    assert found == topic_of(FOUND, name).name


@pytest.mark.parametrize("name", ["camera", "frames", "camera/dept", "x"])
def test_what_is_no_topic_is_told_with_those_that_there_are(name: str) -> None:
    """Ambiguous ones, too; with something to type."""
    with pytest.raises(DoraError) as raised:
        topic_of(FOUND, name)
    assert "camera/frames, camera/depth, far/frames" in raised.value.message
    assert raised.value.hint


def test_replicas_are_one_topic() -> None:
    """What they send is counted together, on all their machines; one that runs will do."""
    summary = DataflowSummary(
        "flow",
        {
            "detect.1": NodeSummary("base", "", {}, ("boxes",), replica_of="detect"),
            "detect.2": NodeSummary("rover", "", {}, ("boxes",), replica_of="detect"),
            "show": NodeSummary("base", "", {"boxes": "detect/boxes"}),
        },
    )

    def look(one: int, two: int) -> list[NodeStatus]:
        return [
            NodeStatus(
                "flow", "base", "detect.1", "failed", traffic=Traffic.of({}, {"boxes": one})
            ),
            NodeStatus(
                "flow", "rover", "detect.2", "running", traffic=Traffic.of({}, {"boxes": two})
            ),
        ]

    (found,) = topics(summary, {}, Looks(look(5, 10), look(5, 20), 2.0))
    assert ("detect/boxes", "base, rover", "running", Count(25, 5.0)) == (
        found.name,
        found.machine,
        found.state,
        found.sent,
    )
    assert ["zenoh"] == [reader.wire.layer for reader in found.readers]
