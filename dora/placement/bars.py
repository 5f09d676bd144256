"""Placement of nodes that must leave a machine, because it is lost or fails them. Pure.

Laptop only. Who can go nowhere else stays where it is: the others are not held up by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dora.dataflow.model import Dataflow
from dora.errors import PlacementError
from dora.placement.groups import Situation, candidates, groups_of
from dora.placement.model import Placement
from dora.placement.place import decide
from dora.placement.wishes import wishes_of

Bars = Mapping[str, Mapping[str, str]]  # node -> machine where it is not to run -> why
NO_BARS: Bars = {}


def decide_without(dataflow: Dataflow, situation: Situation, bars: Bars) -> Placement:
    """As `decide`, and nodes leave the machines that are barred to them, each with its group, if
    all nodes of that may move. As many groups as there is another place for, in the order of the
    file. Raises PlacementError when there is no placement even if all stay."""
    wishes = wishes_of(dataflow, situation.platforms, situation.packed)
    groups = groups_of(situation, wishes)
    leaving = {}
    for group in groups:
        barred = [machine for node in group.of for machine in bars.get(node, ())]
        if not barred or not all(dataflow.nodes[node].deploy.moves for node in group.of):
            continue
        its = dict.fromkeys(group.nodes, tuple(dict.fromkeys(barred)))
        if candidates(group, replace(situation, bars=its)):
            leaving[group.nodes[0]] = its
    placement = _first_possible(dataflow, situation, leaving)
    assignments = {
        node: replace(it, moved=_moved(situation, bars, node, it.machine))
        for node, it in placement.items()
    }
    return replace(placement, assignments=assignments)


def _first_possible(
    dataflow: Dataflow, situation: Situation, leaving: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> Placement:
    """With all of the groups that are leaving, else with as many as possible, one by one."""

    def without(groups: list[str]) -> Placement:
        within = {node: its for group in groups for node, its in leaving[group].items()}
        return decide(dataflow, replace(situation, bars=within))

    try:
        return without(list(leaving))
    except PlacementError:
        found, gone = without([]), list[str]()
    for group in leaving:
        try:
            found = without([*gone, group])
        except PlacementError:
            continue
        gone.append(group)
    return found


def _moved(situation: Situation, bars: Bars, node: str, machine: str) -> str:
    """From where and why, if it did for a bar."""
    before = (situation.running or {}).get(node, machine)
    if before == machine or node not in bars:
        return ""
    why = bars[node].get(before)
    return f"from {before}" if why is None else f"from {before}: {why}"
