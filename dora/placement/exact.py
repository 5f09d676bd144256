"""The best placement of a few items, proven: branch and bound. Pure; laptop only.

Land and Doig, "An Automatic Method of Solving Discrete Programming Problems", Econometrica 28,
1960. The bound adds to what is decided the least that each item left will cost for its traffic with
what is decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from dora.placement.problem import NOWHERE, TOLERANCE, Problem, price
from dora.placement.work import Work

STEPS = 20_000
EACH = 200_000  # hosts that are looked at in all: with many of them there are fewer steps


def improve(
    problem: Problem, known: Sequence[int], steps: int | None = None
) -> tuple[list[int], bool]:
    """The best placement that was found, and whether there is certainly none that is cheaper.
    `known` is one that keeps to all that is hard."""
    if steps is None:
        steps = min(STEPS, EACH // max(1, len(problem.hosts)))
    search = _Search(problem, known, steps)
    search.run()
    return search.best, search.steps >= 0


class _Search:
    def __init__(self, problem: Problem, known: Sequence[int], steps: int) -> None:
        self.problem = problem
        self.best = list(known)
        self.least = price(problem, known)
        self.steps = steps
        self.work = Work(problem)
        self.count = [0] * len(problem.hosts)  # items on each host
        self.spent = 0.0  # by the items that have no choice
        for item in problem.items:
            if len(problem.allowed[item]) == 1:
                host = problem.allowed[item][0]
                self.spent += self.work.price(item, host)
                self.work.put(item, host)
                self.count[host] += 1
        self.order = _order(problem)

    def run(self) -> None:
        self._place(0, self.spent)

    def _place(self, depth: int, spent: float) -> None:
        """`spent` is what the items before `depth` in the order cost."""
        if depth == len(self.order):
            if spent < self.least - TOLERANCE * max(1.0, abs(self.least)):
                self.best, self.least = list(self.work.at), spent
            return
        work, item = self.work, self.order[depth]
        if spent + self._rest(depth) >= self.least - TOLERANCE:
            return
        offers = sorted(
            (work.price(item, host), host)
            for host in self.problem.allowed[item]
            if work.may(item, host)
        )
        tried: set[int] = set()  # of empty hosts that are alike one is enough
        for asked, host in offers:
            if not self.count[host] and self.problem.like[host] in tried:
                continue
            tried |= set() if self.count[host] else {self.problem.like[host]}
            self.steps -= 1
            if self.steps < 0 or spent + asked >= self.least - TOLERANCE:
                return
            work.put(item, host)
            self.count[host] += 1
            self._place(depth + 1, spent + asked)
            self.count[host] -= 1
            work.take(item)

    def _rest(self, depth: int) -> float:
        """What the items from `depth` on cost at least, for their traffic with those before."""
        return sum(
            min(self._least(item, host) for host in self.problem.allowed[item])
            for item in self.order[depth:]
        )

    def _least(self, item: int, host: int) -> float:
        """Traffic of an item with what is decided. What several readers may share is divided."""
        problem, at = self.problem, self.work.at
        found = 0.0
        for net in problem.sends[item]:
            it = problem.nets[net]
            hosts = {at[reader] for reader in it.readers} - {NOWHERE}
            found += it.weight * sum(problem.slowness[host][other] for other in hosts)
        for net in problem.reads[item]:
            it = problem.nets[net]
            there = [at[reader] for reader in it.readers]
            if at[it.producer] == NOWHERE or host in there:
                continue
            sharing = there.count(NOWHERE)  # the item itself is one of them
            found += it.weight * problem.slowness[at[it.producer]][host] / sharing
        return found


def _order(problem: Problem) -> list[int]:
    """The items that have a choice; next who has most traffic with what stands before."""
    pull = [0.0] * len(problem.items)

    def count(item: int) -> None:
        for index in (*problem.sends[item], *problem.reads[item]):
            net = problem.nets[index]
            for member in (net.producer, *net.readers):
                pull[member] += net.weight

    own = [
        sum(problem.nets[net].weight for net in (*problem.sends[item], *problem.reads[item]))
        for item in problem.items
    ]
    left = {item for item in problem.items if len(problem.allowed[item]) > 1}
    for item in problem.items:
        if item not in left:
            count(item)
    order: list[int] = []
    while left:
        item = min(left, key=lambda it: (-pull[it], -own[it], it))
        left.discard(item)
        order.append(item)
        count(item)
    return order
