"""Replicas: each has a place of its own that grants all wishes, and counts for what it sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.inventory import loads as inventory
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow, Node
from dora.errors import PlacementError
from dora.placement.explain import explain
from dora.placement.gain import Move, gain_of
from dora.placement.groups import Situation
from dora.placement.hosts import Found
from dora.placement.model import Placement
from dora.placement.place import decide, place, situation_of

MACHINES = inventory(
    """
machines:
  base: {labels: {gpu: rtx}}
  cart: {labels: {gpu: orin, arm: "yes"}}
  drone: {labels: {arm: "yes"}, link: 10Mbit}
"""
).machines
CORES = {"base": 8, "cart": 4, "drone": 2}
FOUND = {
    "base": Found(memory=8 << 30, devices=()),
    "cart": Found(memory=4 << 30, devices=("/dev/video0",)),
    "drone": Found(memory=1 << 30, devices=("/dev/video0", "/dev/video1")),
}


def flow(*nodes: str) -> Dataflow:
    """A dataflow of nodes as `id: deploy-block`; each reads the one before."""
    lines = ["nodes:"]
    for number, node in enumerate(nodes):
        id, _, deploy = node.partition(": ")
        lines.append(f"  - id: {id}\n    path: {id}.py\n    outputs: [out]")
        lines.append(f"    deploy: {deploy or '{}'}")
        if number:
            lines.append(f"    inputs: {{in: {nodes[number - 1].partition(': ')[0]}/out}}")
    return loads("\n".join(lines), "flow.yml").dataflow


def placed(dataflow: Dataflow, **more: Any) -> Placement:
    return place(dataflow, MACHINES.values(), available=CORES, found=FOUND, **more)


def situation(dataflow: Dataflow, **more: Any) -> Situation:
    return situation_of(dataflow, MACHINES.values(), available=CORES, found=FOUND, **more)


def refused(dataflow: Dataflow) -> list[str]:
    with pytest.raises(PlacementError) as caught:
        placed(dataflow)
    return str(caught.value).splitlines()


def test_replicas_are_spread_as_far_as_cores_allow() -> None:
    """As even as can be; a machine that has not enough for its share has fewer."""
    assert {"base": 1, "cart": 1, "drone": 1} == Counter(
        placed(flow("a: {replicas: 3, spread: true, cores: 2}")).replicas["a"]
    )
    assert {"base": 4, "cart": 2} == Counter(
        placed(flow("a: {replicas: 6, spread: true, cores: 2}", "b: {machine: drone, cores: 2}"))
        .replicas["a"]
    )  # fmt: skip


def test_replicas_are_only_where_each_of_them_may_be() -> None:
    """Labels, devices, memory, `apart`."""
    for wish, expected in (
        ("labels: {arm: 'yes'}", {"cart": 2, "drone": 2}),
        ("devices: /dev/video1", {"drone": 4}),
        ("memory: 1GiB", {"base": 2, "cart": 1, "drone": 1}),
        ("memory: 1500MiB", {"base": 2, "cart": 2}),
        ("apart: other", {"cart": 2, "drone": 2}),
    ):
        found = placed(flow(f"a: {{replicas: 4, spread: true, {wish}}}", "other: {machine: base}"))
        assert expected == Counter(found.replicas["a"]), wish


def test_what_is_apart_from_a_node_is_apart_from_all_its_replicas() -> None:
    """And what is near it is near the first."""
    found = placed(
        flow(
            "a: {replicas: 2, spread: true}",
            "b: {apart: a}",
            "c: {near: a}",
        )
    )
    assert 2 == len(set(found.replicas["a"]))
    assert found["b"].machine not in found.replicas["a"]
    assert found["c"].machine == found.replicas["a"][0]


def test_replicas_that_have_no_room_are_refused() -> None:
    """With what each asks for, once, and what there is."""
    assert [
        "flow.yml:5:48: each replica of a takes 2 exclusive cores, and there is not room for all "
        "of them; of cores there are: base 8, cart 4, drone 2"
    ] == refused(flow("a: {replicas: 8, spread: true, cores: 2}"))


def test_replicas_that_are_packed_need_room_for_all() -> None:
    """As many as there are now, where the load decides on that; a single machine packs those that
    could be spread."""
    auto = flow("a: {autoscale: {min: 1, max: 4, target_queue: 5}, cores: 2}")
    assert ("base",) == placed(auto, current={"a": "base"}).replicas["a"]
    three = {"current": {"a": "cart"}, "replicas": {"a": ("cart",) * 3}}
    assert ("base",) * 3 == placed(auto, **three).replicas["a"]
    alone = {id: it for id, it in MACHINES.items() if id == "cart"}
    spread = flow("a: {replicas: 3, spread: true, cores: 2}")
    with pytest.raises(PlacementError, match="cart has 4 of the 6 exclusive cores"):
        place(spread, alone.values(), available={"cart": 4})


def test_new_replicas_take_turns() -> None:
    """So that as many as one scales down to are still spread; those that run stay."""
    spread = flow("a: {replicas: 4, spread: true, labels: {arm: 'yes'}}")
    first, second, *_ = found = placed(spread).replicas["a"]
    assert (first, second) * 2 == found
    now = {"current": {"a": "cart"}, "replicas": {"a": ("cart", "cart", "cart")}}
    assert ("cart", "cart", "cart", "drone") == placed(spread, **now).replicas["a"]


def test_a_node_sends_as_much_with_replicas_as_without() -> None:
    """Each has a share of what is balanced, and all of what is broadcast."""
    base = """
nodes:
  - {id: camera, path: c.py, outputs: [out], output_rates: {out: {hz: 12, bytes: 1kB}}}
  - id: a
    path: a.py
    inputs: {in: {source: camera/out, distribution: WAY}}
    outputs: [out]
    output_rates: {out: {hz: 6, bytes: 100}}
    deploy: {replicas: 3, spread: true}
  - {id: show, path: s.py, inputs: {in: a/out, raw: camera/out}}
"""
    found = situation(loads(base.replace("WAY", "balance"), "f.yml").dataflow).flows
    assert [
        ("camera/out", ("show",), 12),
        ("camera/out", ("a.1",), 4),
        ("camera/out", ("a.2",), 4),
        ("camera/out", ("a.3",), 4),
        ("a.1/out", ("show",), 2),
        ("a.2/out", ("show",), 2),
        ("a.3/out", ("show",), 2),
    ] == [(it.source, it.readers, it.rate.hz) for it in found]
    found = situation(loads(base.replace("WAY", "broadcast"), "f.yml").dataflow).flows
    assert [("camera/out", ("a.1", "a.2", "a.3", "show"), 12)] == [
        (it.source, it.readers, it.rate.hz) for it in found if it.producer == "camera"
    ]


def test_each_replica_is_explained() -> None:
    """Also why it is not with the others."""
    dataflow = flow("a: {machine: cart}", "b: {replicas: 2, spread: true, labels: {arm: 'yes'}}")
    now = situation(dataflow)
    found = decide(dataflow, now)
    told = explain(dataflow, now, found.parts, dict.fromkeys(found.parts, ""))
    assert [("a",), ("b.1",), ("b.2",)] == [it.nodes for it in told]
    other = next(it for it in told if it.machine == "drone")
    assert ("each replica of b needs a machine with arm=yes",) == other.wishes
    assert [(None, "has its share of the replicas")] == [
        (it.traffic, it.why) for it in other.options if it.machine == "cart"
    ]


def test_moves_are_those_of_replicas() -> None:
    """One that runs where it may be no more, or where others have come to be."""
    dataflow = flow("a: {replicas: 2, spread: true, labels: {arm: 'yes'}}")
    now = situation(dataflow, current={"a": "cart"}, replicas={"a": ("cart", "cart")})
    moved = decide(dataflow, now, keep=False)
    before = {"a.1": "cart", "a.2": "cart"}
    assert (Move("a.2", "cart", "drone"),) == gain_of(dataflow, now, before, moved.parts).moves


WISHES = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(1, 4),
        "spread": st.booleans(),
        "machine": st.sampled_from(list(MACHINES)),
        "labels": st.sampled_from(["{gpu: rtx}", "{arm: 'yes'}"]),
        "devices": st.sampled_from(["/dev/video0", "[/dev/video1]"]),
        "cores": st.integers(1, 3),
        "memory": st.sampled_from(["500MiB", "1GiB", "3GiB"]),
        "near": st.sampled_from(["n0", "n1"]),
        "apart": st.sampled_from(["n0", "n1"]),
    },
)


def deploy_block(number: int, wishes: Mapping[str, object]) -> str:
    """YAML of what makes sense together."""
    kept = {k: v for k, v in wishes.items() if v != f"n{number}"}
    if "replicas" not in kept:
        kept.pop("spread", None)
    kept = {k: str(v).lower() if k == "spread" else v for k, v in kept.items()}
    return "{" + ", ".join(f"{key}: {value}" for key, value in kept.items()) + "}"


def broken(dataflow: Dataflow, found: Placement) -> list[str]:
    """What a placement does not grant of what is hard, looked at unit by unit."""
    where = {node: found.replicas.get(node, (found[node].machine,)) for node in dataflow.nodes}
    wrong: list[str] = []
    for id, node in dataflow.nodes.items():
        wanted = node.deploy
        if len(where[id]) != wanted.least:
            wrong.append(f"{id} is there {len(where[id])} times")
        for machine in where[id]:
            wrong += [f"{id} on {machine}: {it}" for it in _ungranted(node, machine, where)]
    for machine in MACHINES:
        here = [node for id, node in dataflow.nodes.items() for it in where[id] if it == machine]
        if sum(node.deploy.cores or 0 for node in here) > CORES[machine]:
            wrong.append(f"{machine} has not enough cores")
        if sum(node.deploy.memory or 0 for node in here) > (FOUND[machine].memory or 0):
            wrong.append(f"{machine} has not enough memory")
    return wrong


def _ungranted(node: Node, machine: str, where: Mapping[str, tuple[str, ...]]) -> list[str]:
    wanted = node.deploy
    granted = {
        "machine": wanted.machine in (None, machine),
        "labels": wanted.labels.items() <= MACHINES[machine].labels.items(),
        "devices": set(wanted.devices) <= set(FOUND[machine].devices or ()),
        "near": wanted.near is None or machine == where[wanted.near][0],
        "apart": not any(machine in where[other] for other in wanted.apart),
    }
    return [wish for wish, it in granted.items() if not it]


@given(
    st.lists(WISHES, min_size=2, max_size=4),
    st.lists(st.lists(st.sampled_from([*MACHINES, "gone"]), max_size=4), max_size=4),
    st.booleans(),
)
def test_every_placement_grants_every_wish_of_every_replica(
    wishes: list[dict[str, object]], habits: list[list[str]], keep: bool
) -> None:
    """Whatever is asked and wherever things run: all that is hard holds, or it is refused."""
    blocks = (f"n{number}: {deploy_block(number, its)}" for number, its in enumerate(wishes))
    dataflow = flow(*blocks)
    running = {f"n{number}": tuple(its) for number, its in enumerate(habits) if its}
    more: dict[str, Any] = {
        "current": {node: its[0] for node, its in running.items()},
        "replicas": running,
        "keep": keep,
    }
    try:
        found = placed(dataflow, **more)
    except PlacementError:
        return
    assert [] == broken(dataflow, found)
    assert found == placed(dataflow, **more)
    # What was decided is a habit that the next decision keeps.
    again = {"current": found.machines, "replicas": found.replicas}
    assert found.parts == placed(dataflow, **again).parts
