"""A node with replicas becomes several units, and nobody else has to know how many."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.deployment import Deployment, UnitSpec
from deploy.inventory import Machine
from dora.compile.compile import Site, compile_dataflow
from dora.compile.packaging import Closure
from dora.compile.wiring import crossing, edges
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow
from dora.placement.model import Assignment, Placement
from dora.placement.place import place
from dora.protocol.config import NODE_CONFIG, REPLICA, NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, RouterSummary
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import from_text
from tests.dora.compile.test_dataplane import facts

FLOW = """\
nodes:
  - {{id: camera, path: it.py, inputs: {{tick: dora/timer/millis/100}}, outputs: [image]}}
  - id: detect
    path: it.py
    inputs:
      image: {{source: camera/image, key: track}}
      all: {{source: camera/image, distribution: broadcast}}
      tick: dora/timer/millis/100
    outputs: [boxes]
    deploy: {deploy}
  - {{id: show, path: it.py, inputs: {{boxes: detect/boxes}}}}
"""


def flow_of(folder: Path, deploy: str) -> Dataflow:
    (folder / "it.py").write_text("")
    return loads(FLOW.format(deploy=deploy), directory=str(folder)).dataflow


def placed(dataflow: Dataflow, current: tuple[str, ...] = ()) -> Placement:
    """All nodes run on `a` already, and the replicas where `current` says."""
    return place(
        dataflow,
        [Machine("a", "a"), Machine("b", "b")],
        available={"a": 4, "b": 4},
        current=dict.fromkeys(dataflow.nodes, "a"),
        replicas={"detect": current},
    )


def compiled(folder: Path, deploy: str) -> Deployment:
    dataflow = flow_of(folder, deploy)
    sites = {name: Site(Machine(name, name), facts(name)) for name in ("a", "b")}
    routers = {name: RouterSummary(name, 7447, "PEM") for name in sites}
    return compile_dataflow("flow", dataflow, placed(dataflow), sites, routers, Closure())


def units(deployment: Deployment) -> dict[str, UnitSpec]:
    return {spec.unit.name: spec for it in deployment.machines.values() for spec in it.units}


def test_replicas_are_told_the_same_but_for_their_number(tmp_path: Path) -> None:
    """So that one can be made of another."""
    found = units(compiled(tmp_path, "{replicas: 3}"))
    assert {"camera", "detect.1", "detect.2", "detect.3", "show"} == found.keys()
    first, last = found["detect.1"].unit, found["detect.3"].unit
    assert {REPLICA: "3"} == {k: v for k, v in last.env.items() if first.env[k] != v}
    assert "detect.3.shm" == last.sockets[0].path
    environ = {NODE_CONFIG: last.env[NODE_CONFIG].replace("$$", "$"), REPLICA: "3"}
    config = NodeConfig.from_environment(environ)
    assert config is not None
    assert ("detect.3", 3, "detect") == (config.node, config.replica, config.base)
    assert ("detect/image", "track") == (config.inputs["image"].share, config.inputs["image"].key)
    assert "" == config.inputs["all"].share == config.inputs["tick"].share


@pytest.mark.parametrize("more", ["", ", spread: true"])
def test_the_number_of_replicas_concerns_nobody_else(tmp_path: Path, more: str) -> None:
    """Whoever sends to them or reads them keeps its process, wherever they are."""
    one = units(compiled(tmp_path, f"{{replicas: 1{more}}}"))
    four = units(compiled(tmp_path, f"{{replicas: 4{more}}}"))
    assert one["camera"] == four["camera"]
    assert one["show"] == four["show"]
    assert one["detect.1"] == four["detect.1"]


def test_running_nodes_hear_of_replicas_by_their_document(tmp_path: Path) -> None:
    """Which restarts nobody."""
    deployment = compiled(tmp_path, "{replicas: 2}")
    summary = DataflowSummary.from_text(str(deployment.machines["a"].documents[DOCUMENT]))
    assert ("detect.1", "detect.2") == summary.replicas("detect")
    assert {"detect.1", "detect.2"} == summary.consumers("camera")
    assert {"show"} == summary.consumers("detect.2")
    assert {("show", "boxes"): 1} == summary.listeners("detect.2", {"boxes"})


def test_spread_replicas_speak_over_zenoh(tmp_path: Path) -> None:
    """Also on one machine; and their senders are told that they share."""
    dataflow = flow_of(tmp_path, "{replicas: 2, spread: true}")
    placement = placed(dataflow)
    assert ("a", "b") == placement.replicas["detect"]
    wiring = edges(dataflow, placement.machines, placement.scattered)
    assert {"zenoh"} == {edge.layer for edge in wiring}
    second, none = placement.of_unit("detect.2"), placement.of_unit("detect.3")
    assert (Assignment("b", "detect is spread over machines"), None) == (second, none)
    assert {"a", "b"} == crossing(wiring, placement.machines, placement.replicas)
    machine = compiled(tmp_path, "{replicas: 2, spread: true}").machines["a"]
    assert from_text(machine.documents[WAYS])["camera"].outputs["image"].shared


def test_replicas_stay_where_they_are(tmp_path: Path) -> None:
    """As long as that machine would do."""
    spread = flow_of(tmp_path, "{replicas: 4, spread: true}")
    assert ("a", "a", "a", "b") == placed(spread, ("a", "a", "a")).replicas["detect"]
    assert ("a", "b", "a", "b") == placed(spread, ("a", "gone")).replicas["detect"]
    packed = flow_of(tmp_path, "{replicas: 2}")
    assert ("a", "a") == placed(packed, ("b", "b")).replicas["detect"]


def test_who_scales_itself_keeps_its_number(tmp_path: Path) -> None:
    """Through a deployment, within its bounds."""
    flow = flow_of(tmp_path, "{autoscale: {min: 2, max: 3, target_queue: 5}}")
    for now, then in ((0, 2), (2, 2), (3, 3), (5, 3)):
        assert then == len(placed(flow, ("a",) * now).replicas["detect"])
