"""Makes a smaller problem of a large one: items with much traffic between them become one. Pure.

The multilevel scheme of Karypis and Kumar ("A Fast and High Quality Multilevel Scheme for
Partitioning Irregular Graphs", SIAM J. Sci. Comput. 20(1), 1998): heavy-edge matching, again and
again; the smallest problem is placed, and the placement is made better on the way back.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dora.placement.problem import NOWHERE, Net, Problem

SHARED = 8  # an output with more readers than this binds none of them to another


@dataclass(frozen=True)
class Level:
    """A problem, and which of its items each item of the next larger problem is in."""

    problem: Problem
    inside: Sequence[int]


def coarsen(
    problem: Problem, until: int, random: Random, at: Sequence[int] | None = None
) -> list[Level]:
    """Smaller and smaller problems, down to about `until` items; empty when it is small already.
    With `at`, items become one only where they are on one host, so that `at` can be said of the
    smallest problem, too, and made better there (iterated multilevel: Walshaw, "Multilevel
    Refinement for Combinatorial Optimisation Problems", Annals of OR 131, 2004)."""
    levels: list[Level] = []
    share = sum(problem.load) / max(1, until) * 1.5
    while len(problem.items) > until:
        inside = _match(problem, share, random, at)
        count = max(inside) + 1
        if count > 0.95 * len(problem.items):
            break
        problem = _merged(problem, inside, count)
        if at is not None:
            at = at_of(inside, at, count)
        levels.append(Level(problem, inside))
    return levels


def at_of(inside: Sequence[int], at: Sequence[int], count: int) -> list[int]:
    """Where the items of the smaller problem are, whose members are all on one host."""
    found = [NOWHERE] * count
    for item, whole in enumerate(inside):
        found[whole] = at[item]
    return found


def _match(problem: Problem, most: float, random: Random, at: Sequence[int] | None) -> list[int]:
    """Pairs of items, each with the one that it has most traffic with, among those it may join."""
    ties: list[dict[int, float]] = [{} for _ in problem.items]
    for net in problem.nets:
        if len(net.readers) > SHARED:
            continue
        each = net.weight / len(net.readers)
        for reader in net.readers:
            ties[reader][net.producer] = ties[reader].get(net.producer, 0.0) + each
            ties[net.producer][reader] = ties[net.producer].get(reader, 0.0) + each
    partner = [NOWHERE] * len(problem.items)
    order = list(problem.items)
    random.shuffle(order)
    for item in order:
        if partner[item] != NOWHERE:
            continue
        found, tie = item, 0.0
        for other, weight in ties[item].items():
            if at is not None and at[item] != at[other]:
                continue
            if weight > tie and partner[other] == NOWHERE and _may(problem, item, other, most):
                found, tie = other, weight
        partner[item], partner[found] = found, item
    inside = [NOWHERE] * len(problem.items)
    count = 0
    for item in problem.items:
        if inside[item] == NOWHERE:
            inside[item] = inside[partner[item]] = count
            count += 1
    return inside


def _may(problem: Problem, item: int, other: int, most: float) -> bool:
    """Whether two items may be one."""
    if problem.load[item] + problem.load[other] > most or other in problem.apart[item]:
        return False
    needs = [a + b for a, b in zip(problem.needs[item], problem.needs[other], strict=True)]
    return any(
        # with room to spare: hosts full of large items are hard to fill
        all(need <= have / 2 for need, have in zip(needs, problem.capacities[host], strict=True))
        for host in problem.permitted[item] & problem.permitted[other]
    )


def _merged(problem: Problem, inside: Sequence[int], count: int) -> Problem:
    members: list[list[int]] = [[] for _ in range(count)]
    for item, whole in enumerate(inside):
        members[whole].append(item)
    weights: dict[tuple[int, tuple[int, ...]], float] = {}
    for net in problem.nets:
        producer = inside[net.producer]
        readers = tuple(sorted({inside[reader] for reader in net.readers} - {producer}))
        if readers:
            weights[producer, readers] = weights.get((producer, readers), 0.0) + net.weight
    permitted = [frozenset.intersection(*(problem.permitted[it] for it in its)) for its in members]
    here = [{problem.now[item] for item in its} for its in members]
    return Problem(
        needs=[
            tuple(map(sum, zip(*(problem.needs[item] for item in its), strict=True)))
            for its in members
        ],
        capacities=problem.capacities,
        allowed=[tuple(sorted(hosts)) for hosts in permitted],
        apart=[
            frozenset(inside[other] for item in its for other in problem.apart[item])
            for its in members
        ],
        nets=[Net(producer, readers, it) for (producer, readers), it in weights.items()],
        slowness=problem.slowness,
        load=[sum(problem.load[item] for item in its) for its in members],
        room=problem.room,
        comfort=problem.comfort,
        now=[hosts.pop() if len(hosts) == 1 else NOWHERE for hosts in here],
        nodes=[sum(problem.nodes[item] for item in its) for its in members],
        settled=problem.settled,
    )
