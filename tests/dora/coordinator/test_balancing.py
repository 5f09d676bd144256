"""Which nodes and operators of a deployment are scaled: histories of what is found of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dora.coordinator.autoscale import Load, operator_load
from dora.coordinator.balancing import Balancing
from dora.coordinator.status import NodeStatus
from dora.dataflow.load import load
from dora.dataflow.model import Dataflow
from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic

FLOW = """
nodes:
  - {id: camera, path: camera.py, outputs: [frames]}
  - id: rt
    operators:
      - id: detect
        python: op.py
        inputs: {frame: camera/frames}
        autoscale: {max: 4, CLAUSE}
      - {id: track, python: op.py, inputs: {frame: camera/frames}, replicas: 2}
  - id: show
    path: show.py
    inputs: {frame: camera/frames}
    deploy: {autoscale: {max: 3, target_queue: 5, cooldown: 4s}}
"""
BY_QUEUE = "target_queue: 5, cooldown: 4s"
BY_CPU = "target_cpu: 0.5, cooldown: 4s"

Write = Callable[[str], Dataflow]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(clause: str) -> Dataflow:
        file = tmp_path / "flow.yml"
        file.write_text(FLOW.replace("CLAUSE", clause))
        return load(file).dataflow

    return write


def operator(depth: int = 0, state: str = "running") -> OperatorTraffic:
    return OperatorTraffic(state, 0, 0, 0, 0, 0, 0, 0, depth, 0, 0, 0, 0)


def runtime(waiting: int, shares: Sequence[float], last: str = "running") -> NodeStatus:
    """A runtime whose operator `detect` has a replica for each share of time spent in calls; the
    state of the last one."""
    names = [f"detect.{number}" for number in range(1, len(shares) + 1)]
    its = {name: operator() for name in names} | {names[-1]: operator(state=last)}
    tracks = {name: operator() for name in ("track", "track.1", "track.2")}
    traffic = Traffic(
        operators={"detect": operator(waiting), **its, **tracks},
        operator_states={"running": len(shares) + 2},
    )
    return NodeStatus(
        *("flow", "base", "rt", "running"),
        traffic=traffic,
        replicas={"detect": len(shares), "track": 2},
        busy=dict(zip(names, shares, strict=True)),
    )


def shown(number: int, waiting: int) -> NodeStatus:
    traffic = Traffic.of({"frame": InputTraffic(9, 0, waiting)}, {})
    return NodeStatus("flow", "base", f"show.{number}", "running", traffic=traffic)


def decisions(dataflow: Dataflow, rows: Sequence[NodeStatus], looks: int = 4) -> dict[str, int]:
    """The last ones, of as many looks at the same, one a second."""
    balancing = Balancing("flow")
    balancing.follow(dataflow)
    return [balancing.decide(rows, now) for now in range(looks)][-1]


def test_nodes_and_operators_are_scaled_each_by_its_load(written: Write) -> None:
    """Those that do not say so, never."""
    rows = [runtime(20, [1.0, 1.0]), shown(1, 0), shown(2, 0), shown(3, 0)]

    assert {} == decisions(written(BY_QUEUE), rows, looks=3)
    assert {"rt/detect": 4} == decisions(written(BY_QUEUE), rows, looks=4)
    assert {"show": 2} == decisions(written(BY_QUEUE), rows, looks=5)
    assert {} == decisions(written(BY_QUEUE), [runtime(10, [1.0, 1.0]), shown(1, 5)], looks=30)


def test_time_in_calls_may_be_the_target(written: Write) -> None:
    """What waits does not matter then."""
    assert {"rt/detect": 3} == decisions(written(BY_CPU), [runtime(0, [0.7, 0.8])])
    assert {} == decisions(written(BY_CPU), [runtime(500, [0.5, 0.5])], looks=30)
    assert {"rt/detect": 1} == decisions(written(BY_CPU), [runtime(500, [0.1, 0.1])], looks=5)


def test_a_number_out_of_bounds_is_brought_back(written: Write) -> None:
    """Also when nothing is known of the load."""
    rows = [replace(runtime(0, [0.0] * 6), traffic=None)]
    assert {"rt/detect": 4} == decisions(written(BY_QUEUE), rows, looks=1)


def test_another_flow_with_the_same_bounds_forgets_nothing(written: Write) -> None:
    """What is deployed meanwhile does not put off a step."""
    balancing = Balancing("flow")
    for now in range(3):
        balancing.follow(written(BY_QUEUE))
        assert {} == balancing.decide([runtime(20, [1.0])], now)
    assert {"rt/detect": 2} == balancing.decide([runtime(20, [1.0])], 3)


def test_the_load_of_an_operator_is_what_waits_and_the_time_in_calls() -> None:
    """Of one replica on average."""
    load = operator_load(runtime(6, [0.25, 0.75]), "detect")
    assert Load(3.0, 0.5) == load


def test_nothing_is_known_while_a_replica_does_not_run() -> None:
    """Or has not begun, or the runtime itself does not run, or tells nothing."""
    row = runtime(6, [0.5, 0.5])
    assert row.traffic is not None
    fewer = {name: it for name, it in row.traffic.operators.items() if name != "detect.2"}
    begins = Traffic(operators=fewer, operator_states={"running": 3})

    assert None is operator_load(runtime(6, [0.5, 0.5], last="backoff"), "detect")
    assert None is operator_load(replace(row, traffic=begins), "detect")
    assert None is operator_load(replace(row, state="starting"), "detect")
    assert None is operator_load(replace(row, traffic=None), "detect")
    assert None is operator_load(replace(row, traffic=Traffic()), "detect")


def test_time_in_calls_is_unknown_until_all_have_told_of_some() -> None:
    """What waits is known at once."""
    row = runtime(6, [0.5, 0.5])
    assert Load(3.0, None) == operator_load(replace(row, busy={"detect.1": 0.5}), "detect")


def test_those_that_a_large_runtime_tells_of_stand_for_the_others() -> None:
    """It has no room to tell of all of its operators."""
    row = runtime(12, [0.5] * 6)
    assert row.traffic is not None
    told = dict(list(row.traffic.operators.items())[:3])
    cut = replace(row, traffic=replace(row.traffic, operators=told))
    assert Load(2.0, 0.5) == operator_load(cut, "detect")
