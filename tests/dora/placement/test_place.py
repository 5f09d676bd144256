"""Placement: who goes where, why, and what is said when nobody fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.inventory import Machine
from deploy.inventory import loads as inventory
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow
from dora.errors import PlacementError
from dora.placement.model import Assignment, Placement
from dora.placement.place import place

MACHINES = inventory(
    """
machines:
  base: {labels: {arch: x86, gpu: rtx}}
  rover-1: {labels: {arch: arm, gpu: orin}, cores: 2-5}
  rover-2: {labels: {arch: arm}}
"""
).machines
ALL = {"base": 8, "rover-1": 6, "rover-2": 4}


def flow(*nodes: str) -> Dataflow:
    """A dataflow of nodes as `id` or `id: deploy-block`."""
    lines = ["nodes:"]
    for node in nodes:
        id, _, deploy = node.partition(": ")
        lines.append(f"  - id: {id}\n    path: {id}.py\n    deploy: {deploy or '{}'}")
    return loads("\n".join(lines), "flow.yml").dataflow


def placed(
    dataflow: Dataflow,
    available: dict[str, int] | None = None,
    current: dict[str, str] | None = None,
    machines: dict[str, Machine] | None = None,
) -> Placement:
    return place(
        dataflow,
        (MACHINES if machines is None else machines).values(),
        available=ALL if available is None else available,
        current=current or {},
    )


def refused(dataflow: Dataflow, available: dict[str, int] | None = None) -> list[str]:
    with pytest.raises(PlacementError) as caught:
        placed(dataflow, available)
    return str(caught.value).splitlines()


def test_a_named_machine_wins() -> None:
    """Also over where the node runs now."""
    found = placed(flow("a: {machine: rover-2}"), current={"a": "base"})
    assert {"a": Assignment("rover-2", "the flow file names it")} == dict(found)


def test_labels_are_matched_as_a_subset() -> None:
    """A machine may have more labels than a node asks for."""
    found = placed(flow("a: {labels: {gpu: orin}}", "b: {labels: {arch: arm, gpu: orin}}"))
    assert {
        "a": Assignment("rover-1", "has gpu=orin; the only one that fits"),
        "b": Assignment("rover-1", "has arch=arm, gpu=orin; the only one that fits"),
    } == dict(found)


def test_a_free_node_stays_where_it_runs() -> None:
    """Nothing moves without a reason."""
    found = placed(flow("a", "b"), current={"a": "rover-2", "b": "rover-2"})
    assert {
        "a": Assignment("rover-2", "runs there already"),
        "b": Assignment("rover-2", "runs there already"),
    } == dict(found)


def test_a_node_leaves_a_machine_that_no_longer_has_its_labels() -> None:
    """Wishes count more than habit."""
    found = placed(flow("a: {labels: {gpu: rtx}}"), current={"a": "rover-2"})
    assert {"a": "base"} == found.machines


def test_free_nodes_go_to_the_least_loaded_machine() -> None:
    """Nodes per usable core; the inventory's order among equals; bound nodes count first."""
    found = placed(flow("a", "b", "c", "d", "e: {machine: base}"))
    assert {
        "a": Assignment("rover-1", "least loaded: 0 nodes on 4 cores"),
        "b": Assignment("rover-2", "least loaded: 0 nodes on 4 cores"),
        "c": Assignment("base", "least loaded: 1 node on 8 cores"),
        "d": Assignment("base", "least loaded: 2 nodes on 8 cores"),
        "e": Assignment("base", "the flow file names it"),
    } == dict(found)
    assert ["a", "b", "c", "d", "e"] == list(found)
    assert ("c", "d", "e") == found.on("base")


def test_near_nodes_go_together() -> None:
    """Whichever of them is bound, and through several steps."""
    found = placed(
        flow(
            "camera",
            "detector: {near: camera, labels: {gpu: orin}}",
            "filter: {near: detector}",
            "lidar",
            "map: {near: lidar, machine: rover-2}",
        )
    )
    assert {
        "camera": Assignment("rover-1", "has gpu=orin; the only one that fits"),
        "detector": Assignment("rover-1", "near camera"),
        "filter": Assignment("rover-1", "near detector"),
        "lidar": Assignment("rover-2", "map is to be near it"),
        "map": Assignment("rover-2", "the flow file names it"),
    } == dict(found)


def test_near_may_be_mutual() -> None:
    """Two nodes near each other are simply together."""
    found = placed(flow("a: {near: b}", "b: {near: a}", "c"), current={"b": "rover-2"})
    assert {"a": "rover-2", "b": "rover-2", "c": "base"} == found.machines


def test_a_machine_that_is_away_keeps_what_can_run_nowhere_else() -> None:
    """By its id, or by labels that it alone has; what ran nowhere yet goes elsewhere."""
    found = placed(
        flow("a: {machine: rover-1}", "b: {labels: {gpu: orin}}", "c", "d: {labels: {arch: arm}}"),
        available={"base": 8, "rover-2": 4},
    )
    assert {
        "a": Assignment("rover-1", "the flow file names it"),
        "b": Assignment("rover-1", "has gpu=orin; is away, and nothing else will do"),
        "c": Assignment("base", "least loaded: 0 nodes on 8 cores"),
        "d": Assignment("rover-2", "has arch=arm; the only one that fits"),
    } == dict(found)


def test_exclusive_cores_are_counted() -> None:
    """No machine promises a core twice, and cores that the inventory keeps back do not count."""
    found = placed(flow("a: {cores: 6}", "b: {cores: 3}", "c: {cores: 3}", "d: {cores: 2}"))
    assert {"a": "base", "b": "rover-1", "c": "rover-2", "d": "base"} == found.machines


def test_every_node_that_fits_nowhere_is_named() -> None:
    """With its place in the file, and what the nearest machine lacks."""
    assert [
        "flow.yml:4:13: a is to run on 'rover-3', which the inventory does not have; "
        "did you mean 'rover-2'?",
        "flow.yml:7:13: b fits nowhere: the nearest machine is base, "
        "which lacks the label gpu=thor (it has rtx)",
        "flow.yml:10:13: c fits nowhere: the nearest machine is base, "
        "which has 8 of the 9 exclusive cores",
        "flow.yml:13:13: d fits nowhere: rover-2 lacks the label gpu=orin",
        "flow.yml:19:13: f is to run on base and near e, which is to run on rover-1; "
        "name one machine for both, or drop `near`",
    ] == refused(
        flow(
            "a: {machine: rover-3}",
            "b: {labels: {gpu: thor}}",
            "c: {cores: 9}",
            "d: {machine: rover-2, labels: {gpu: orin}}",
            "e: {machine: rover-1}",
            "f: {machine: base, near: e}",
            "g",
        )
    )


def test_nodes_that_must_go_together_fail_together() -> None:
    """Each says with whom."""
    assert [
        "flow.yml:4:13: a, together with b, fits nowhere: the nearest machine is base, "
        "which lacks the label arch=arm (it has x86)",
        "flow.yml:7:13: b, together with a, fits nowhere: the nearest machine is base, "
        "which lacks the label arch=arm (it has x86)",
    ] == refused(flow("a: {labels: {gpu: rtx}}", "b: {labels: {arch: arm}, near: a}"))


def test_named_cores_must_be_there() -> None:
    """`cpu_affinity` against the cores that the inventory leaves to dataflows."""
    dataflow = loads(
        "nodes:\n  - {id: a, path: a.py, cpu_affinity: 0-1, deploy: {machine: rover-1}}\n", "f.yml"
    ).dataflow
    with pytest.raises(PlacementError) as caught:
        placed(dataflow)
    assert "f.yml:2:52: a fits nowhere: rover-1 has no cores 0, 1 for dataflows" == str(
        caught.value
    )


def test_several_machines_that_are_all_away_are_no_place() -> None:
    """Nobody knows which of them comes back."""
    assert ["flow.yml:4:13: a fits nowhere: the nearest machine is rover-1, which is away"] == (
        refused(flow("a: {labels: {arch: arm}}"), available={"base": 8})
    )


def test_without_machines_nothing_fits() -> None:
    """An empty selection is not a crash."""
    with pytest.raises(PlacementError) as caught:
        placed(flow("a"), machines={})
    assert "flow.yml:4:13: a fits nowhere: there is no machine" == str(caught.value)


WISHES = st.sampled_from(
    [
        "",
        "{machine: base}",
        "{labels: {arch: arm}}",
        "{cores: 1}",
        "{near: n0}",
        "{labels: {gpu: rtx}}",
    ]
)


@given(
    st.lists(WISHES, min_size=1, max_size=8),
    st.dictionaries(st.integers(0, 7), st.sampled_from([*MACHINES, "gone"])),
    st.sets(st.sampled_from(list(MACHINES))),
)
def test_placement_is_deterministic_and_keeps_to_wishes(
    wishes: list[str], habits: dict[int, str], answering: set[str]
) -> None:
    """Whatever is asked: the same answer twice, every wish granted, or a refusal."""
    wishes[0] = wishes[0].replace("{near: n0}", "")
    dataflow = flow(
        *(f"n{index}: {wish}" if wish else f"n{index}" for index, wish in enumerate(wishes))
    )
    available = {id: cores for id, cores in ALL.items() if id in answering}
    current = {f"n{index}": machine for index, machine in habits.items()}
    try:
        found = placed(dataflow, available, current)
    except PlacementError:
        return
    assert found == placed(dataflow, available, current)
    assert list(dataflow.nodes) == list(found)
    for id, node in dataflow.nodes.items():
        machine = MACHINES[found[id].machine]
        assert node.deploy.machine in (None, machine.id)
        assert node.deploy.labels.items() <= machine.labels.items()
        assert node.deploy.near in (None, *found.on(machine.id))
    # What was decided is a habit that the next decision keeps.
    assert found.machines == placed(dataflow, available, found.machines).machines


def test_a_node_of_a_machine_that_is_away_is_not_started_elsewhere() -> None:
    """Its machine may only be out of reach: nothing is to run twice."""
    found = placed(flow("a"), available={"base": 8, "rover-2": 4}, current={"a": "rover-1"})
    assert {"a": Assignment("rover-1", "runs there already")} == dict(found)
