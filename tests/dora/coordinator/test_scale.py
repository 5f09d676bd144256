"""Profiles with more or fewer replicas, made of those that run."""

from __future__ import annotations

import pytest

from deploy.profile import Profile
from deploy.unit import EXCLUSIVE, Socket, Unit
from dora.coordinator.names import units_named
from dora.coordinator.scale import scaled
from dora.errors import DoraError
from dora.protocol.config import REPLICA
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary


def unit(name: str, pin: str = "shared") -> Unit:
    number = name.rpartition(".")[2]
    env = {REPLICA: number} if number.isdigit() else {}
    sockets = (Socket("shm", f"{name}.shm", "seqpacket"),)
    return Unit(name, ("run",), "/", env=env, closure=("tree",), sockets=sockets, pin=pin)


def fleet(**machines: tuple[str, ...]) -> tuple[dict[str, Profile], DataflowSummary]:
    """Machine -> its units."""
    nodes = {
        name: NodeSummary(machine, "", replica_of=name.partition(".")[0] if "." in name else "")
        for machine, names in machines.items()
        for name in names
    }
    summary = DataflowSummary("flow", nodes)
    return {
        machine: Profile("flow", machine, tuple(map(unit, names)), {DOCUMENT: summary.to_text()})
        for machine, names in machines.items()
    }, summary


def names(profiles: dict[str, Profile]) -> dict[str, list[str]]:
    return {machine: [it.name for it in its.units] for machine, its in profiles.items()}


def test_new_replicas_are_the_old_one_under_another_name() -> None:
    """All that knows the name has the new one; others stay as they were, byte for byte."""
    profiles, summary = fleet(base=("camera", "detect.1"))
    after, told = scaled(profiles, summary, {"detect": 3})
    assert {"base": ["camera", "detect.1", "detect.2", "detect.3"]} == names(after)
    assert profiles["base"].units == after["base"].units[:2]
    assert unit("detect.3") == after["base"].unit("detect.3")
    assert ("detect.1", "detect.2", "detect.3") == told.replicas("detect")
    assert told == DataflowSummary.from_text(after["base"].documents[DOCUMENT])


def test_those_with_the_highest_numbers_go() -> None:
    """And going back gives exactly what there was."""
    profiles, summary = fleet(base=("detect.1", "camera"))
    more, told = scaled(profiles, summary, {"detect": 4})
    back, _ = scaled(more, told, {"detect": 1})
    assert profiles == back


def test_spread_ones_come_where_there_are_fewest() -> None:
    """Of the machines that have one already; all machines learn of it."""
    profiles, summary = fleet(base=("show", "it.1", "it.3"), rover=("it.2",), other=("x",))
    after, told = scaled(profiles, summary, {"it": 5})
    assert ["it.2", "it.4"] == names(after)["rover"][:2]
    assert {told.to_text()} == {it.documents[DOCUMENT] for it in after.values()}
    assert 5 == len(told.replicas("it"))


@pytest.mark.parametrize(
    ("node", "count", "said"),
    [
        ("nobody", 2, "no node 'nobody'.*these can be scaled: detect"),
        ("camera", 2, "runs as one process.*replicas: 1"),
        ("detect", 0, "1 to 100"),
        ("detect", 101, "1 to 100"),
    ],
)
def test_what_cannot_be_scaled_is_said(node: str, count: int, said: str) -> None:
    """With what to do instead."""
    profiles, summary = fleet(base=("camera", "detect.1"))
    with pytest.raises(DoraError, match=said.partition(".*")[0]) as caught:
        scaled(profiles, summary, {node: count})
    assert said.partition(".*")[2] in (caught.value.hint or "")


def test_operators_scale_in_the_document_alone() -> None:
    """Their runtime's unit stays what it was, and so does everybody else's."""
    nodes = {"rt": NodeSummary("base", "", operators={"detect": 1, "track": 2})}
    summary = DataflowSummary("flow", nodes)
    profiles = {"base": Profile("flow", "base", (unit("rt"),), {DOCUMENT: summary.to_text()})}

    after, told = scaled(profiles, summary, {"rt/detect": 3})

    assert profiles["base"].units == after["base"].units
    assert {"detect": 3, "track": 2} == told.nodes["rt"].operators
    assert told == DataflowSummary.from_text(after["base"].documents[DOCUMENT])
    with pytest.raises(DoraError, match="no operator 'rt/show' that has replicas") as caught:
        scaled(profiles, summary, {"rt/show": 3})
    assert "these can be scaled: rt/detect, rt/track" == caught.value.hint


def test_cores_of_ones_own_cannot_be_copied() -> None:
    """Somebody has to choose others."""
    profiles, summary = fleet(base=("detect.1",))
    alone = Profile("flow", "base", (unit("detect.1", EXCLUSIVE),))
    with pytest.raises(DoraError, match="cores for itself"):
        scaled({**profiles, "base": alone}, summary, {"detect": 2})


def test_a_node_stands_for_all_its_replicas() -> None:
    """On the command line; one of them is itself."""
    units = ["detect.10", "detect.2", "detect", "detector.1", "show"]
    assert ("detect",) == units_named("detect", units)
    assert ("detect.2", "detect.10") == units_named("detect", [u for u in units if u != "detect"])
    assert ("detect.2",) == units_named("detect.2", units)
    assert ("nobody",) == units_named("nobody", units)
