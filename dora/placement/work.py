"""An assignment that is being worked on: what a move would cost, without counting anew. Pure.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Sequence

from dora.placement.problem import NOWHERE, TOLERANCE, Problem

STALE = 8  # moves after which it is looked anew which hosts are empty


class Work:
    """Items may be nowhere meanwhile. All prices are those of `dora.placement.problem.price`."""

    def __init__(self, problem: Problem, at: Sequence[int] | None = None) -> None:
        self.problem = problem
        self.at = [NOWHERE] * len(problem.items)
        self._used = [[0.0] * len(row) for row in problem.capacities]
        self._loads = [0.0] * len(problem.hosts)
        # Of each net: host -> how many of its readers are there.
        self._there: list[dict[int, int]] = [{} for _ in problem.nets]
        self._slow = _uniform(problem)
        self._moves = self._looked = 0
        self._order: list[int] = []
        for item, host in enumerate(at or ()):
            if host != NOWHERE:
                self.put(item, host)

    def __repr__(self) -> str:
        return f"<Work on {len(self.at)} items, {self.at.count(NOWHERE)} of them nowhere>"

    def put(self, item: int, host: int) -> None:
        """Places an item that is nowhere; does not ask whether it may."""
        problem = self.problem
        self.at[item] = host
        self._moves += 1
        for kind, need in enumerate(problem.needs[item]):
            self._used[host][kind] += need
        self._loads[host] += problem.load[item]
        for net in problem.reads[item]:
            there = self._there[net]
            there[host] = there.get(host, 0) + 1

    def take(self, item: int) -> int:
        """Takes an item off its host; returns that."""
        problem, host = self.problem, self.at[item]
        self.at[item] = NOWHERE
        for kind, need in enumerate(problem.needs[item]):
            self._used[host][kind] -= need
        self._loads[host] -= problem.load[item]
        for net in problem.reads[item]:
            there = self._there[net]
            if there[host] == 1:
                del there[host]
            else:
                there[host] -= 1
        return host

    def move(self, item: int, host: int) -> None:
        self.take(item)
        self.put(item, host)

    def may(self, item: int, host: int) -> bool:
        """Whether an item that is not there may go there as things are."""
        problem = self.problem
        if host not in problem.permitted[item]:
            return False
        used, most = self._used[host], problem.capacities[host]
        for kind, need in enumerate(problem.needs[item]):
            if need and used[kind] + need > most[kind] + TOLERANCE:
                return False
        apart = problem.apart[item]
        return not apart or all(self.at[other] != host for other in apart)

    def price(self, item: int, host: int) -> float:
        """What it adds to put an item, which is nowhere, onto a host."""
        return self._own(item, host) + self.traffic(item, host)

    def prices(self, item: int, hosts: Sequence[int]) -> list[float]:
        """`price` for each of several hosts."""
        traffics = self.traffics(item, hosts)
        return [self._own(item, host) + it for host, it in zip(hosts, traffics, strict=True)]

    def traffics(self, item: int, hosts: Sequence[int]) -> list[float]:
        """`traffic` for each of several hosts."""
        if self._slow is None:
            return [self.traffic(item, host) for host in hosts]
        spared, everything = self._spared(item)
        return [self._slow * (everything - spared.get(host, 0.0)) for host in hosts]

    def _spared(self, item: int) -> tuple[dict[int, float], float]:
        """Of an item that is nowhere, where all links are alike: the bytes a second that do not
        travel if it goes onto a host, and those that travel at most."""
        problem, at = self.problem, self.at
        spared: dict[int, float] = {}
        everything = 0.0
        for net in problem.sends[item]:
            weight = problem.nets[net].weight
            for host in self._there[net]:
                everything += weight
                spared[host] = spared.get(host, 0.0) + weight
        for net in problem.reads[item]:
            it = problem.nets[net]
            producer = at[it.producer]
            if producer == NOWHERE:
                continue
            weight, there = it.weight, self._there[net]
            everything += weight
            for host in there:
                spared[host] = spared.get(host, 0.0) + weight
            if producer not in there:
                spared[producer] = spared.get(producer, 0.0) + weight
        return spared, everything

    def _own(self, item: int, host: int) -> float:
        """The part of `price` that does not travel."""
        problem = self.problem
        load, now = self._loads[host], self._loads[host] + problem.load[item]
        found = problem.load_price * (now * now - load * load) / problem.room[host]
        comfort = problem.comfort[host]
        if now > comfort:
            found += problem.crowding_price * (now - max(load, comfort))
        if problem.now[item] not in (NOWHERE, host):
            found += problem.move_price * problem.nodes[item]
        return found

    def traffic(self, item: int, host: int) -> float:
        """The part of `price` that travels."""
        problem, at = self.problem, self.at
        found = 0.0
        home = problem.slowness[host]
        for net in problem.sends[item]:
            there = self._there[net]
            if there:
                weight = problem.nets[net].weight
                for other in there:
                    found += weight * home[other]
        for net in problem.reads[item]:
            if host not in self._there[net]:
                it = problem.nets[net]
                producer = at[it.producer]
                if producer != NOWHERE:
                    found += it.weight * problem.slowness[producer][host]
        return found

    def wishes(self, item: int) -> list[int]:
        """The hosts that may be better than others for an item, best known first to no one: those
        of its neighbours, where it ran, and the emptiest that it may have."""
        problem = self.problem
        allowed = problem.allowed[item]
        if len(allowed) <= 6:
            return list(allowed)
        permitted = problem.permitted[item]
        found = dict.fromkeys(
            host for other in problem.neighbours[item] if (host := self.at[other]) in permitted
        )
        for host in self._emptiest():
            if host in permitted:
                found[host] = None
                break
        if problem.now[item] in permitted:
            found[problem.now[item]] = None
        return list(found)

    def _emptiest(self) -> list[int]:
        """The hosts, emptiest first, as they were a few moves ago."""
        if self._moves >= self._looked:
            self._looked = self._moves + 4 * STALE
            loads, room = self._loads, self.problem.room
            self._order = sorted(self.problem.hosts, key=lambda host: loads[host] / room[host])
        return self._order

    def best(self, item: int) -> tuple[float, int] | None:
        """The cheapest host that an item, which is nowhere, may have; the first among equals."""
        hosts = [host for host in self.wishes(item) if self.may(item, host)]
        if hosts:
            return first_least(self.prices(item, hosts), hosts)
        others = [host for host in self.problem.allowed[item] if self.may(item, host)]
        return min(((self.price(item, host), host) for host in others), default=None)


def first_least(prices: Sequence[float], hosts: Sequence[int]) -> tuple[float, int]:
    """The cheapest; the first among those that are as cheap but for rounding."""
    best = 0
    for index in range(1, len(prices)):
        if prices[index] < prices[best] - TOLERANCE:
            best = index
    return prices[best], hosts[best]


def _uniform(problem: Problem) -> float | None:
    """The price of a byte between hosts, if it is the same for all pairs."""
    found = {each for a, row in enumerate(problem.slowness) for b, each in enumerate(row) if a != b}
    return found.pop() if len(found) == 1 else None
