"""Nodes that have to leave a machine: who goes, who stays, and what is said of it."""

from __future__ import annotations

from deploy.inventory import loads as inventory
from dora.dataflow.model import Dataflow
from dora.placement.bars import Bars, decide_without
from dora.placement.hosts import Found
from dora.placement.model import Placement
from dora.placement.place import situation_of
from tests.dora.placement.test_place import flow

MACHINES = inventory(
    """
machines:
  base: {labels: {site: home}}
  rover: {labels: {sees: "yes"}, cores: 0-3}
  drone: {labels: {sees: "yes"}}
"""
).machines
LOST = "lost since noon"
MOVE = "on_machine_loss: move"
ROVER: Bars = {name: {"rover": LOST} for name in "abc"}


def placed(
    dataflow: Dataflow,
    bars: Bars = ROVER,
    *,
    available: tuple[str, ...] = ("base", "drone"),
    running: str = "rover",
    found: dict[str, Found] | None = None,
) -> Placement:
    situation = situation_of(
        dataflow,
        tuple(MACHINES.values()),
        available=dict.fromkeys(available, 4),
        current=dict.fromkeys(dataflow.nodes, running),
        found=found or {},
    )
    return decide_without(dataflow, situation, bars)


def test_only_what_may_move_leaves_a_machine_that_is_away() -> None:
    """The rest is there when it is back, and would run twice else."""
    found = placed(flow(f"a: {{{MOVE}, labels: {{sees: 'yes'}}}}", "b"))
    assert {"a": "drone", "b": "rover"} == found.machines
    assert f"from rover: {LOST}" == found["a"].moved
    assert "" == found["b"].moved


def test_without_bars_nothing_leaves() -> None:
    """A machine that does not answer yet is not lost."""
    assert {"a": "rover"} == placed(flow(f"a: {{{MOVE}}}"), {}).machines


def test_one_that_has_no_other_place_stays_and_holds_up_nobody() -> None:
    """By its labels, or by what the others have."""
    one = f"{{{MOVE}, labels: {{sees: 'yes'}}}}"
    other = f"{{{MOVE}}}"
    found = placed(flow(f"a: {one}", f"b: {other}"), available=("base",))
    assert {"a": "rover", "b": "base"} == found.machines
    needing = f"{{{MOVE}, devices: /dev/lidar}}"
    empty = {"base": Found(devices=()), "drone": Found(devices=())}
    found = placed(flow(f"a: {needing}", f"b: {other}"), found=empty)
    assert "rover" == found.machines["a"]
    assert "rover" != found.machines["b"]


def test_as_many_leave_as_there_is_room_for() -> None:
    """In the order of the file."""
    nodes = [f"{name}: {{{MOVE}, labels: {{sees: 'yes'}}, cores: 2}}" for name in "abc"]
    found = placed(flow(*nodes))
    assert {"a": "drone", "b": "drone", "c": "rover"} == found.machines


def test_those_that_are_near_each_other_go_together_or_not_at_all() -> None:
    """One that waits keeps the others of its group."""
    mover = f"a: {{{MOVE}, labels: {{sees: 'yes'}}}}"
    found = placed(flow(mover, f"b: {{near: a, {MOVE}}}"))
    assert {"a": "drone", "b": "drone"} == found.machines
    found = placed(flow(mover, "b: {near: a}"))
    assert {"a": "rover", "b": "rover"} == found.machines


def test_one_that_fails_is_tried_elsewhere_until_it_was_tried_everywhere() -> None:
    """Then it stays where it is."""
    everywhere = ("base", "rover", "drone")
    dataflow = flow(f"a: {{{MOVE}, labels: {{sees: 'yes'}}}}")
    found = placed(dataflow, {"a": {"rover": "broke"}}, available=everywhere)
    assert ("drone", "from rover: broke") == (found["a"].machine, found["a"].moved)
    tried = {"a": {"rover": "broke", "drone": "broke"}}
    found = placed(dataflow, tried, available=everywhere, running="drone")
    assert ("drone", "") == (found["a"].machine, found["a"].moved)


def test_who_has_left_stays_when_the_machine_is_back() -> None:
    """Unless the flow file says where it belongs."""
    found = placed(
        flow(f"a: {{{MOVE}}}", "b: {machine: rover}"),
        {},
        available=("base", "rover", "drone"),
        running="drone",
    )
    assert {"a": "drone", "b": "rover"} == found.machines
