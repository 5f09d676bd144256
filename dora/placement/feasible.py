"""Is there any placement at all? Pure; laptop only.

Backtracking over items, those with the fewest hosts left first ("fail first": Haralick and Elliott,
"Increasing Tree Search Efficiency for Constraint Satisfaction Problems", Artificial Intelligence
14, 1980), after a look at whether resources can be enough at all.
"""

from __future__ import annotations

from dora.placement.problem import NOWHERE, TOLERANCE, Problem
from dora.placement.work import Work

STEPS = 20_000


class Undecided(Exception):
    """Neither a placement nor a proof that there is none was found in the time allowed."""


def feasible(problem: Problem, steps: int = STEPS) -> list[int] | None:
    """A placement that keeps to all that is hard; None if there is none. Raises Undecided."""
    if _too_little(problem):
        return None
    work = Work(problem)
    order = sorted(
        problem.items,
        key=lambda item: (
            len(problem.allowed[item]),
            -_size(problem, item),
            -len(problem.apart[item]),
            item,
        ),
    )
    left = [iter(_hosts(work, order[0]))] if order else []
    while left:
        item = order[len(left) - 1]
        if work.at[item] != NOWHERE:
            work.take(item)
        host = next(left[-1], None)
        if host is None:
            left.pop()
            continue
        steps -= 1
        if steps < 0:
            raise Undecided
        work.put(item, host)
        if len(left) == len(order):
            return work.at
        left.append(iter(_hosts(work, order[len(left)])))
    return None if order else []


def _hosts(work: Work, item: int) -> list[int]:
    """Those that an item may have as things are, the cheapest first. Of several empty hosts that
    are alike, one is enough."""
    problem = work.problem
    occupied = set(work.at)
    empty: set[int] = set()
    free = []
    for host in problem.allowed[item]:
        if host not in occupied:
            if problem.like[host] in empty:
                continue
            empty.add(problem.like[host])
        if work.may(item, host):
            free.append(host)
    return sorted(free, key=lambda host: (work.price(item, host), host))


def _size(problem: Problem, item: int) -> float:
    """The largest share of a resource of the largest host."""
    if not problem.capacities:
        return 0.0
    most = [max(column) or 1.0 for column in zip(*problem.capacities, strict=True)]
    return max((need / it for need, it in zip(problem.needs[item], most, strict=True)), default=0.0)


def _too_little(problem: Problem) -> bool:
    """Whether the items that need one of certain hosts need more than these have together."""
    if any(not hosts for hosts in problem.allowed):
        return True
    for hosts in set(problem.permitted):
        needs = [problem.needs[item] for item in problem.items if problem.permitted[item] <= hosts]
        for kind, wanted in enumerate(map(sum, zip(*needs, strict=True))):
            if wanted > sum(problem.capacities[host][kind] for host in hosts) + TOLERANCE:
                return True
    return False
