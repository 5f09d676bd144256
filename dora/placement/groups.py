"""Dataflow, wishes and hosts as a `Problem`: parts that go together are one item of it. Pure.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from dora.placement.hosts import GIGABIT, Host
from dora.placement.problem import NOWHERE, Net, Problem
from dora.placement.traffic import Flow
from dora.placement.wishes import Wish, lacks, matches

USUAL = 0.5  # cores that a node uses of which nobody knows anything better
SLACK = 1.1  # how much more than its share a machine takes when there are too few cores for all


@dataclass(frozen=True)
class Group:
    """Parts that go together, in the order of the file, with all that they ask for: what several
    replicas wish is there as often. `of` are the nodes that the parts are of."""

    nodes: tuple[str, ...]
    wishes: tuple[Wish, ...]
    of: tuple[str, ...]

    @property
    def torn(self) -> list[Wish]:
        """Wishes to be apart from what is in the same group."""
        return [wish for wish in self.wishes if wish.kind == "apart" and wish.text in self.of]


@dataclass(frozen=True)
class Situation:
    """All that a decision is made of. `nodes`: part -> its node (`dora.placement.replicas`);
    `flows` are those of parts; `running`: part -> the machine where it runs now; `usage`: node ->
    the cores that it was seen to use; `platforms`: node -> the one architecture that its files are
    for; `packed`: node -> how many replicas it is that go together; `bars`: part -> machines where
    it is not to run, the same for all of a group."""

    nodes: Mapping[str, str]
    hosts: Sequence[Host]
    flows: Sequence[Flow] = ()
    running: Mapping[str, str] | None = None
    usage: Mapping[str, float] | None = None
    platforms: Mapping[str, str] | None = None
    packed: Mapping[str, int] | None = None
    bars: Mapping[str, Collection[str]] | None = None

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """Node -> its parts."""
        found: dict[str, list[str]] = {}
        for part, node in self.nodes.items():
            found.setdefault(node, []).append(part)
        return found

    def at(self, groups: Sequence[Group], machine_of: Mapping[str, str]) -> tuple[int, ...]:
        """The host of each group, of parts that are on machines."""
        index = {host.id: number for number, host in enumerate(self.hosts)}
        return tuple(index[machine_of[group.nodes[0]]] for group in groups)


def groups_of(situation: Situation, wishes: Iterable[Wish]) -> tuple[Group, ...]:
    """In the order of the file. All replicas of a node are near what it is to be near; what is to
    be near them is near the first."""
    parts = situation.parts
    first: dict[str, str] = {part: part for part in situation.nodes}

    def find(node: str) -> str:
        while first[node] != node:
            first[node] = first[first[node]]
            node = first[node]
        return node

    order = {node: index for index, node in enumerate(first)}
    listed = tuple(wishes)
    for wish in listed:
        if wish.kind == "near":
            for part in parts[wish.node]:
                ends = find(part), find(parts[wish.text][0])
                one, other = sorted(ends, key=order.__getitem__)
                first[other] = one
    members: dict[str, list[str]] = {}
    for node in first:
        members.setdefault(find(node), []).append(node)
    own: dict[str, list[Wish]] = {}
    for wish in listed:
        for part in parts[wish.node]:
            own.setdefault(find(part), []).append(wish)
    return tuple(
        Group(tuple(its), tuple(own.get(one, ())), tuple(situation.nodes[part] for part in its))
        for one, its in members.items()
    )


def candidates(group: Group, situation: Situation) -> list[int]:
    """The hosts that a group may have as far as it alone is concerned.

    A host that is away keeps what it ran, lest it runs twice; else it gets a group only if the
    inventory leaves no other choice.
    """
    hosts, barred = situation.hosts, _barred(group, situation)
    matching = [
        index
        for index, host in enumerate(hosts)
        if matches(group.wishes, host) and host.id not in barred
    ]
    only = len(matching) == 1 and not barred  # else where it was will do as well
    stays = staying(group, situation)
    if stays is not None and not hosts[stays].answers:
        return [stays]
    return [
        index
        for index in matching
        if (not lacks(group.wishes, hosts[index]) if hosts[index].answers else only)
    ]


def staying(group: Group, situation: Situation) -> int | None:
    """The host where a group runs, if it may stay there; that of its first node that has one."""
    index = {host.id: number for number, host in enumerate(situation.hosts)}
    for node in group.nodes:
        number = index.get((situation.running or {}).get(node, ""))
        if number is None:
            continue
        host = situation.hosts[number]
        if host.id in _barred(group, situation):
            continue
        if matches(group.wishes, host) and not (host.answers and lacks(group.wishes, host)):
            return number
    return None


def _barred(group: Group, situation: Situation) -> Collection[str]:
    return (situation.bars or {}).get(group.nodes[0], ())


def problem_of(
    situation: Situation,
    groups: Sequence[Group],
    *,
    keep: bool,
    settled: bool = False,
    most: Mapping[str, tuple[int, ...]] | None = None,
) -> Problem:
    """With `keep`, what runs where it may run has no other choice; with `settled` it has, and
    moves count more than all else. `most`: node -> how many of its parts each host may have
    (`dora.placement.spread`), but for those that have no other choice."""
    hosts = situation.hosts
    item_of = {node: item for item, group in enumerate(groups) for node in group.nodes}
    allowed, now = [], []
    for group in groups:
        stays = staying(group, situation)
        now.append(NOWHERE if stays is None else stays)
        allowed.append(
            (stays,) if keep and stays is not None else tuple(candidates(group, situation))
        )
    apart: list[set[int]] = [set() for _ in groups]
    for item, group in enumerate(groups):
        for wish in group.wishes:
            if wish.kind == "apart":
                for part in situation.parts[wish.text]:
                    apart[item].add(item_of[part])
                    apart[item_of[part]].add(item)
    nets: dict[tuple[int, tuple[int, ...]], float] = {}
    for flow in situation.flows:
        producer = item_of[flow.producer]
        readers = tuple(sorted({item_of[reader] for reader in flow.readers} - {producer}))
        if readers and flow.bytes_per_second > 0:
            key = producer, readers
            nets[key] = nets.get(key, 0.0) + flow.bytes_per_second
    load = [sum(_load(node, group, situation) for node in group.of) for group in groups]
    limits = most or {}
    bound = [  # hosts that items have in any case
        now[item] if settled and now[item] != NOWHERE else its[0] if len(its) == 1 else NOWHERE
        for item, its in enumerate(allowed)
    ]
    return Problem(
        needs=[
            (
                _total(group, "cores"),
                _total(group, "memory"),
                *(float(group.of.count(node)) for node in limits),
            )
            for group in groups
        ],
        capacities=[
            (
                *_capacity(host),
                *(
                    float(max(each[number], _count(node, groups, bound, number)))
                    for node, each in limits.items()
                ),
            )
            for number, host in enumerate(hosts)
        ],
        allowed=allowed,
        apart=[frozenset(its) for its in apart],
        nets=[Net(producer, readers, weight) for (producer, readers), weight in nets.items()],
        slowness=[
            [0.0 if one is other else GIGABIT / min(one.link, other.link) for other in hosts]
            for one in hosts
        ],
        load=load,
        room=[max(1.0, host.usable) for host in hosts],
        comfort=_comfort(hosts, sum(load)),
        now=now,
        nodes=[len(group.nodes) for group in groups],
        settled=settled,
    )


def _total(group: Group, kind: str) -> float:
    return float(sum(wish.number for wish in group.wishes if wish.kind == kind))


def _count(node: str, groups: Sequence[Group], bound: Sequence[int], host: int) -> int:
    return sum(
        group.of.count(node) for group, its in zip(groups, bound, strict=True) if its == host
    )


def _load(node: str, group: Group, situation: Situation) -> float:
    """Of one part of a node."""
    for wish in group.wishes:
        if wish.kind == "cores" and wish.node == node:
            return float(wish.number)
    usage = (situation.usage or {}).get(node)
    if usage is None:
        return USUAL * (situation.packed or {}).get(node, 1)
    return usage / len(situation.parts[node])


def _capacity(host: Host) -> tuple[float, float]:
    """Nobody knows what a host that is away has left."""
    if not host.answers:
        return inf, inf
    return float(host.alone), inf if host.found.memory is None else float(host.found.memory)


def _comfort(hosts: Sequence[Host], load: float) -> list[float]:
    """Cores: all that a host has; its share and a little more where all hosts have too few."""
    total = sum(host.usable for host in hosts if host.answers) or 1
    return [
        max(1.0, host.usable, SLACK * load * host.usable / total) if host.answers else inf
        for host in hosts
    ]
