"""The best placement of a problem that can be found in reasonable time. Pure, deterministic.

Laptop only. Small problems are solved for certain (`exact`); large ones from small to large
(`coarsen`), several times over, with moves and swaps on every level (`refine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dora.placement.coarsen import Level, at_of, coarsen
from dora.placement.exact import improve
from dora.placement.feasible import Undecided, feasible
from dora.placement.problem import NOWHERE, TOLERANCE, Problem, price
from dora.placement.refine import refine
from dora.placement.work import Work

SMALL = 14  # items that have a choice, up to which the best is looked for with certainty
TRIES = 2  # from nothing
MEDIUM = 60  # items that have a choice, up to which parts are placed with certainty
PART = 7  # items of a part
PART_STEPS = 300
ROUNDS = 3
MANY = 16  # where that is quick
QUICK = 600  # items in all tries
AGAIN = 4  # from the best
SMALLEST = 4  # items for each host, in the smallest problem of a large one


@dataclass(frozen=True)
class Solution:
    """`proven`: there is no placement that costs less."""

    at: tuple[int, ...]
    proven: bool


def solve(
    problem: Problem, *, small: int = SMALL, tries: int = TRIES, seed: int = 0
) -> Solution | None:
    """None if nothing can keep to all that is hard. Raises Undecided when that is not known."""
    if not len(problem.items):
        return Solution((), proven=True)
    found: list[tuple[float, list[int]]] = []

    def remember(at: Sequence[int]) -> None:
        found.append((price(problem, at), list(at)))

    free = sum(len(hosts) > 1 for hosts in problem.allowed)
    if (at := greedy(problem)) is not None or (at := feasible(problem)) is not None:
        remember(_refined(problem, at))
    else:
        return None
    if all(it != NOWHERE for it in problem.now) and not _broken(problem, problem.now):
        remember(_refined(problem, problem.now))
    if free > small:
        for number in range(max(tries, min(MANY, QUICK // len(problem.items)))):
            if (at := _multilevel(problem, Random(seed + number))) is not None:
                remember(at)
        for number in range(AGAIN):
            remember(_again(problem, min(found)[1], Random(seed + number)))
    best = min(found, key=lambda it: it[0])[1]
    if free <= small:
        best, proven = improve(problem, best)
        return Solution(tuple(best), proven)
    if free <= MEDIUM:
        best = _part_by_part(problem, best)
    return Solution(tuple(best), proven=False)


def greedy(problem: Problem, random: Random | None = None) -> list[int] | None:
    """Items one after the other onto their cheapest hosts, those with least choice first. With
    `random`, in an order of chance. None when one finds no host any more."""
    work = Work(problem)
    sizes = [max(needs, default=0.0) for needs in problem.needs]
    chance = [0.0 if random is None else random.random() for _ in problem.items]
    order = sorted(
        problem.items,
        key=lambda item: (
            len(problem.allowed[item]) != 1,
            problem.now[item] == NOWHERE,
            len(problem.allowed[item]) if not random else 0,
            -sizes[item],
            chance[item],
            item,
        ),
    )
    for item in order:
        offer = work.best(item)
        if offer is None:
            return None
        work.put(item, offer[1])
    return work.at


def _multilevel(problem: Problem, random: Random) -> list[int] | None:
    levels = coarsen(problem, max(60, SMALLEST * len(problem.hosts)), random)
    smallest = levels[-1].problem if levels else problem
    starts = [at for _ in range(3) if (at := greedy(smallest, random)) is not None]
    if not starts:
        return None
    placed = [_refined(smallest, start) for start in starts]
    return _enlarged(problem, levels, min(placed, key=lambda it: price(smallest, it)))


def _again(problem: Problem, at: Sequence[int], random: Random) -> list[int]:
    """A placement made better on smaller problems that keep to it."""
    levels = coarsen(problem, max(60, SMALLEST * len(problem.hosts)), random, at)
    for level in levels:
        at = at_of(level.inside, at, len(level.problem.items))
    smallest = levels[-1].problem if levels else problem
    return _enlarged(problem, levels, _refined(smallest, at))


def _enlarged(problem: Problem, levels: Sequence[Level], at: Sequence[int]) -> list[int]:
    """A placement of the smallest problem as one of the whole, made better on every level."""
    for index in reversed(range(len(levels))):
        inside = levels[index].inside
        larger = levels[index - 1].problem if index else problem
        at = _refined(larger, [at[inside[item]] for item in larger.items])
    return list(at)


def _part_by_part(problem: Problem, at: Sequence[int]) -> list[int]:
    """Each item and those around it are placed as well as can be while all others stay (large
    neighbourhood search: Shaw, "Using Constraint Programming and Local Search Methods to Solve
    Vehicle Routing Problems", CP 1998), until that helps no more."""
    best, least = list(at), price(problem, at)
    for _ in range(ROUNDS):
        before = least
        for item in problem.items:
            if len(problem.allowed[item]) < 2:
                continue
            part = _around(problem, best, item)
            allowed = [
                hosts if other in part else (best[other],)
                for other, hosts in enumerate(problem.allowed)
            ]
            found, _ = improve(replace(problem, allowed=allowed), best, PART_STEPS)
            if (now := price(problem, found)) < least - TOLERANCE:
                best, least = found, now
        if least >= before - TOLERANCE:
            break
    return best


def _around(problem: Problem, at: Sequence[int], item: int) -> set[int]:
    """An item, those that it speaks to, and those that stand where these do, as far as they have a
    choice; PART of them."""
    near = problem.neighbours[item]
    hosts = {at[other] for other in near}
    there = (other for other in problem.items if at[other] in hosts)
    found = [it for it in dict.fromkeys((item, *near, *there)) if len(problem.allowed[it]) > 1]
    return set(found[:PART])


def _refined(problem: Problem, at: Sequence[int]) -> list[int]:
    work = Work(problem, at)
    refine(work)
    return work.at


def _broken(problem: Problem, at: Sequence[int]) -> bool:
    work = Work(problem)
    for item, host in enumerate(at):
        if not work.may(item, host):
            return True
        work.put(item, host)
    return False


__all__ = ["Solution", "Undecided", "greedy", "solve"]
