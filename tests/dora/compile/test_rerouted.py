"""A plan tells which edges go another way, though the processes at their ends stay."""

from __future__ import annotations

from deploy.profile import Profile
from dora.compile.rerouted import rerouted, ways_of
from dora.compile.wiring import Edge
from dora.protocol.config import BULK
from dora.protocol.ways import DOCUMENT, InputWay, NodeWays, OutputWay, to_text

EDGES = (
    Edge("camera", "image", "plot", "image", "zenoh"),
    Edge("camera", "image", "new", "in", ""),
)


def ways(wired: InputWay, output: OutputWay) -> dict[str, NodeWays]:
    return {
        "plot": NodeWays(inputs={"image": wired}),
        "camera": NodeWays(outputs={"image": output}),
    }


def test_edges_that_change_their_way_are_told_with_how_they_are_now() -> None:
    """By their layer, or by how the network carries them."""
    here = ways(InputWay("shm"), OutputWay(("shm",)))
    apart = ways(InputWay("zenoh"), OutputWay(("zenoh",)))
    careful = ways(InputWay("zenoh", cache=9), OutputWay(("zenoh",), cache=9, priority=BULK))
    assert {} == rerouted(EDGES, here, here)
    assert {("plot", "image"): "shm"} == rerouted(EDGES, here, apart)
    assert {("plot", "image"): "zenoh, reliable, bulk"} == rerouted(EDGES, careful, apart)
    assert {} == rerouted(EDGES, {}, apart)


def test_ways_are_those_of_all_machines_that_tell() -> None:
    """What another version of dora wrote tells nothing."""
    here = ways(InputWay("shm"), OutputWay(("shm",)))
    good = Profile("flow", "a", (), {DOCUMENT: to_text(here)})
    bad = Profile("flow", "b", (), {DOCUMENT: "[]"})
    assert here == ways_of([good, bad, None, Profile("flow", "c", ())])
