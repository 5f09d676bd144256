"""Which machines call which others by TCP."""

from __future__ import annotations

from deploy.inventory import Machine
from deploy.profile import Profile
from dora.coordinator.doctor.callers import calls, may_be_called, may_call
from dora.dataflow.load import loads
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, RouterSummary
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import InputWay, NodeWays, to_text

A, B, C = (Machine(name, f"{name}.local", labels={"arm": name}) for name in "abc")
ROUTERS = {name: RouterSummary(f"{name}.local", 7447, "") for name in "abc"}
FLOW = """
nodes:
  - {id: camera, path: camera.py, outputs: [frames], deploy: {machine: a}}
  - id: plot
    path: plot.py
    inputs: {image: {source: camera/frames, link: direct}, tick: dora/timer/millis/10}
    deploy: {labels: {arm: b}}
  - {id: log, path: log.py, inputs: {image: camera/frames}}
"""


def profile(**ways: InputWay) -> Profile:
    """Of node `plot` with these inputs."""
    documents = {
        DOCUMENT: DataflowSummary("flow", {}, ROUTERS).to_text(),
        WAYS: to_text({"plot": NodeWays(inputs=ways), "idle": NodeWays()}),
    }
    return Profile("flow", "b", (), documents)


def test_who_is_called_follows_from_what_nodes_were_told() -> None:
    """By machine, with the inputs for which it is; other links call nobody."""
    found = profile(
        image=InputWay("direct", at="a.local:7447"),
        depth=InputWay("direct", at="a.local:7447"),
        boxes=InputWay("direct", at="c.local:7447"),
        near=InputWay("shm"),
        far=InputWay("zenoh"),
    )

    assert {"a": ("plot/depth", "plot/image"), "c": ("plot/boxes",)} == calls(found)
    assert {} == calls(profile(far=InputWay("zenoh")))


def test_of_another_version_nobody_knows_whom_it_calls() -> None:
    """Which is another thing than nobody."""
    assert calls(Profile("flow", "b", (), {})) is None
    strange = Profile("flow", "b", (), {**profile().documents, WAYS: "[1]"})
    assert calls(strange) is None


def test_whom_a_flow_would_call_follows_from_where_its_nodes_may_run() -> None:
    """By name and labels; a direct input of the flow concerns no other machines."""
    flow = loads(FLOW).dataflow
    found = {
        (one.id, other.id): may_call(flow, one, other)
        for one in (A, B, C)
        for other in (A, B, C)
        if one is not other and may_call(flow, one, other)
    }

    assert {("b", "a"): ("plot/image",)} == found
    assert [True, False, False] == [may_be_called(flow, it) for it in (A, B, C)]
    assert not may_be_called(loads(FLOW.replace("direct", "routers")).dataflow, A)
