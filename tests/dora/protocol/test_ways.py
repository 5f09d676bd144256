"""What depends on where other nodes run is apart from what a process is told for its whole life."""

from __future__ import annotations

import pytest

from dora.protocol.config import BULK, InputConfig, Links, NodeConfig, OutputConfig
from dora.protocol.ways import NodeWays, from_text, to_text, without_ways

CONFIG = NodeConfig(
    "flow",
    "uuid",
    "host",
    inputs={
        "a/image": InputConfig("camera/image", "zenoh", 5, cache=10, at="10.0.0.2:7447"),
        "a/tick": InputConfig("dora/timer/secs/1", "timer", interval=10**9),
        "b/boxes": InputConfig("host/a/boxes", "memory", timeout=2.0),
        "b/pose": InputConfig("imu/pose", "shm", share="host/pose", key="track"),
    },
    outputs={
        "a/boxes": OutputConfig(("memory", "shm", "zenoh"), cache=20, priority=BULK, shared=True),
        "b/unread": OutputConfig(()),
    },
    zenoh="/run/router.sock",
    shm="/run/flow",
    documents="/documents",
    state="/state",
    links=Links("/key", "/certificate", "PEM"),
)


def test_what_is_taken_apart_is_whole_again() -> None:
    """Also through a text; for runtimes, whose inner edges and timers go no way."""
    apart, ways = without_ways(CONFIG), NodeWays.of(CONFIG)
    assert CONFIG == from_text(to_text({"host": ways}))["host"].laid(apart)
    assert CONFIG == ways.laid(ways.laid(apart))


def test_without_ways_nothing_tells_where_others_run() -> None:
    """Two configurations that differ in nothing else are the same then."""
    elsewhere = NodeWays(shm="/run/flow").laid(CONFIG)
    assert elsewhere != CONFIG
    assert without_ways(CONFIG) == without_ways(elsewhere)
    apart = without_ways(CONFIG)
    assert ["", "timer", "memory", ""] == [it.layer for it in apart.inputs.values()]
    assert ("memory",) == apart.outputs["a/boxes"].layers
    assert (None, None, None) == (apart.zenoh, apart.shm, apart.links)
    assert ("track", 2.0) == (apart.inputs["b/pose"].key, apart.inputs["b/boxes"].timeout)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"inputs": {"x": {}}}}'])
def test_what_is_no_such_text_is_refused(text: str) -> None:
    """A damaged document changes nothing."""
    with pytest.raises(ValueError, match="not the ways of nodes"):
        from_text(text)
