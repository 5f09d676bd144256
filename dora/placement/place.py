"""Decides which machine runs which node. Pure and deterministic; laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deploy.document import suggest
from dora.dataflow.model import Dataflow
from dora.errors import Located, PlacementError
from dora.placement.contradiction import smallest
from dora.placement.feasible import Undecided, feasible
from dora.placement.groups import Group, Situation, candidates, groups_of, problem_of
from dora.placement.hosts import Found, Host, Listed, hosts_of
from dora.placement.model import Placement
from dora.placement.reasons import STAYS, reasons
from dora.placement.replicas import (
    flows_of_parts,
    packed_in,
    parts_of,
    placement_of,
    running_parts,
)
from dora.placement.solve import solve
from dora.placement.spread import limits
from dora.placement.traffic import Measured, flows
from dora.placement.wishes import Wish, amount, lacks, matches, wishes_of

MOST = 8  # machines that a hint names

__all__ = ["STAYS", "decide", "place", "situation_of"]


def place(
    dataflow: Dataflow,
    machines: Iterable[Listed],
    *,
    available: Mapping[str, int],
    current: Mapping[str, str] | None = None,
    found: Mapping[str, Found] | None = None,
    measured: Measured | None = None,
    usage: Mapping[str, float] | None = None,
    platforms: Mapping[str, str] | None = None,
    replicas: Mapping[str, tuple[str, ...]] | None = None,
    keep: bool = True,
) -> Placement:
    """A machine for every node.

    `available` are the machines that answered, with their numbers of cores, and `found` what else
    was read off them; `current` says where nodes run now, `measured` what they were seen to send,
    `usage` how many cores they were seen to use; `platforms` the architecture that a node's files
    are for, if they are for one alone; `replicas` where each replica of a node runs now. Of a node
    with replicas, what was measured is of all of them together.

    All that the flow file asks for holds: machine, labels, `near`, `apart`, exclusive cores,
    memory, devices, platform; of replicas that are spread for each of them, and no machine has more
    of them than it must. Within that no machine is crowded while another has room; then as
    little as possible goes over the network, weighted by the speed of the links; then load is even;
    then as little as possible moves. With `keep` a node stays where it runs if it may. A machine
    that is away keeps what it ran, lest it runs twice, and gets the nodes that can run nowhere
    else.

    Raises PlacementError, with an issue for every node that fits nowhere, or for each of the wishes
    that cannot be granted together.
    """
    situation = situation_of(
        dataflow,
        machines,
        available=available,
        current=current,
        found=found,
        measured=measured,
        usage=usage,
        platforms=platforms,
        replicas=replicas,
    )
    return decide(dataflow, situation, keep=keep)


def situation_of(
    dataflow: Dataflow,
    machines: Iterable[Listed],
    *,
    available: Mapping[str, int],
    current: Mapping[str, str] | None = None,
    found: Mapping[str, Found] | None = None,
    measured: Measured | None = None,
    usage: Mapping[str, float] | None = None,
    platforms: Mapping[str, str] | None = None,
    replicas: Mapping[str, tuple[str, ...]] | None = None,
) -> Situation:
    """What `place` decides on, and what `explain` and `gain_of` tell of."""
    hosts = hosts_of(machines, available, found or {})
    parts = parts_of(dataflow, replicas or {}, spreadable=len(hosts) > 1)
    return Situation(
        parts,
        hosts,
        flows_of_parts(flows(dataflow, measured), dataflow, parts),
        running_parts(parts, current or {}, replicas or {}),
        usage or {},
        platforms or {},
        packed_in(dataflow, parts, replicas or {}),
    )


def decide(dataflow: Dataflow, situation: Situation, *, keep: bool = True) -> Placement:
    """As `place`."""
    wishes = wishes_of(dataflow, situation.platforms, situation.packed)
    groups = groups_of(situation, wishes)
    if issues := _unplaceable(dataflow, groups, situation):
        raise PlacementError(issues)
    for keeping, settled in ((keep, False), (False, True)):
        for most in limits(situation, groups):
            problem = problem_of(situation, groups, keep=keeping, settled=settled, most=most)
            try:
                solution = solve(problem)
            except Undecided:
                continue
            if solution is not None:
                told = reasons(dataflow, groups, situation, solution.at)
                parts, packed = situation.nodes, situation.packed or {}
                return placement_of(dataflow, parts, packed, told, situation.running or {})
    raise PlacementError(_contradiction(dataflow, wishes, situation))


def _unplaceable(
    dataflow: Dataflow, groups: Sequence[Group], situation: Situation
) -> list[Located]:
    """Issues of groups that have no place, whatever the others do."""
    issues: list[Located] = []
    for group in groups:
        if wrong := _misnamed(dataflow, group, situation.hosts):
            issues += wrong
        elif group.torn:
            issues += _torn(dataflow, group)
        elif not candidates(group, situation):
            issues += _homeless(dataflow, group, situation.hosts)
    return issues


def _misnamed(dataflow: Dataflow, group: Group, hosts: Sequence[Host]) -> list[Located]:
    """Machines that a group names and cannot have."""
    ids = [host.id for host in hosts]
    issues: list[Located] = []
    first: Wish | None = None
    for wish in dict.fromkeys(group.wishes):
        if wish.kind != "machine":
            continue
        mark = dataflow.nodes[wish.node].deploy.mark or dataflow.nodes[wish.node].mark
        if wish.text not in ids:
            message = f"{wish.node} is to run on {wish.text!r}, which the inventory does not have"
            hint = suggest(wish.text, ids) or f"the machines are {', '.join(ids)}"
            issues.append(mark.issue(message, hint))
        elif first is None:
            first = wish
        elif wish.text != first.text:
            message = (
                f"{wish.node} is to run on {wish.text} and near {first.node}, "
                f"which is to run on {first.text}"
            )
            issues.append(mark.issue(message, "name one machine for both, or drop `near`"))
    return issues


def _torn(dataflow: Dataflow, group: Group) -> list[Located]:
    """Nodes that are to be together and apart."""
    return [
        (wish.mark or dataflow.nodes[wish.node].mark).issue(
            f"{wish.told}, and `near` puts the two on one machine", "drop one of them"
        )
        for wish in dict.fromkeys(group.torn)
    ]


def _homeless(dataflow: Dataflow, group: Group, hosts: Sequence[Host]) -> list[Located]:
    """One issue for each node of a group that fits nowhere."""
    matching = [host for host in hosts if matches(group.wishes, host)]
    named = [wish.text for wish in group.wishes if wish.kind == "machine"]
    asked = [host for host in hosts if host.id in named] or matching or list(hosts)
    issues: list[Located] = []
    nodes = list(dict.fromkeys(group.of))
    for id in nodes:
        mark = dataflow.nodes[id].deploy.mark or dataflow.nodes[id].mark
        if not asked:
            issues.append(mark.issue(f"{id} fits nowhere: there is no machine", None))
            continue
        nearest = min(asked, key=lambda host: len(lacks(group.wishes, host)))
        why = " and ".join(lacks(group.wishes, nearest))
        what = f"{id} fits nowhere"
        if others := [other for other in nodes if other != id]:
            what = f"{id}, together with {', '.join(others)}, fits nowhere"
        if len(asked) == 1:
            issues.append(mark.issue(f"{what}: {nearest.id} {why}", None))
        else:
            issues.append(
                mark.issue(f"{what}: the nearest machine is {nearest.id}, which {why}", None)
            )
    return issues


def _contradiction(
    dataflow: Dataflow, wishes: Sequence[Wish], situation: Situation
) -> list[Located]:
    """An issue for each of the fewest wishes that cannot be granted together."""
    settled = replace(situation, flows=())

    def impossible(some: Sequence[Wish]) -> bool:
        groups = groups_of(settled, some)
        if any(group.torn for group in groups):
            return True
        try:
            return feasible(problem_of(settled, groups, keep=False)) is None
        except Undecided:
            return False

    if not impossible(wishes):
        first = next(iter(dataflow.nodes.values()))
        message = "no placement was found that grants all wishes, nor a proof that there is none"
        return [first.mark.issue(message, "name the machine of some nodes, or ask for less")]
    core = smallest(wishes, impossible)
    marks = [wish.mark or dataflow.nodes[wish.node].mark for wish in core]
    issues: list[Located] = []
    for number, wish in enumerate(core):
        others = [str(mark.line) for index, mark in enumerate(marks) if index != number]
        lines = _listed(list(dict.fromkeys(others))) if others else ""
        plural = "s" if len(set(others)) > 1 else ""
        message = f"{wish.told}, which cannot be together with line{plural} {lines}"
        if not others:
            message = f"{wish.told}, and there is not room for all of them"
        issues.append(marks[number].issue(message, _had(core, situation.hosts)))
    return issues


def _had(core: Sequence[Wish], hosts: Sequence[Host]) -> str:
    """What machines have of what is asked for too much of; the named ones, if all are named."""
    kinds = {wish.kind for wish in core}
    named = {wish.text for wish in core if wish.kind == "machine"}
    placed = {wish.node for wish in core if wish.kind == "machine"}
    answering = [host for host in hosts if host.answers]
    if {wish.node for wish in core} <= placed:
        answering = [host for host in answering if host.id in named]
    if "memory" in kinds:
        what = "of memory there is: "
        has = [
            f"{host.id} {amount(host.found.memory)}"
            for host in answering
            if host.found.memory is not None
        ]
    elif "cores" in kinds:
        what, has = "of cores there are: ", [f"{it.id} {it.alone}" for it in answering]
    else:
        what, has = "the machines that answer are ", [host.id for host in answering]
    more = [f"{len(has) - MOST} more"] if len(has) > MOST else []
    return what + ", ".join([*has[:MOST], *more])


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
