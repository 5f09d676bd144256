"""Placement as numbers: items that go onto hosts, and what that costs. Pure; laptop only.

An item is a group of nodes that go together. What is hard: the hosts that an item may have, the
resources of a host, items that are to be apart. What is wished, each before the next: no host is
crowded; little traffic between hosts, weighted by how slow the links are; even load; few moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

Resources = tuple[float, ...]

NOWHERE = -1
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Net:
    """An output: it goes once to each other host that has readers, however many read it there.

    This is the "connectivity - 1" measure of hypergraph partitioning (Catalyurek and Aykanat,
    "Hypergraph-Partitioning-Based Decomposition for Parallel Sparse-Matrix Vector Multiplication",
    IEEE TPDS 10(7), 1999), here with a price for each pair of hosts.
    """

    producer: int
    readers: tuple[int, ...]  # each once, without the producer
    weight: float  # bytes a second


@dataclass(frozen=True)
class Problem:
    """Indices are items and hosts. `slowness[a][b]` is the price of a byte from `a` to `b`, 0 on
    the diagonal. `load` and `room` are in cores; above `comfort` a host is crowded."""

    needs: Sequence[Resources]  # of items
    capacities: Sequence[Resources]  # of hosts
    allowed: Sequence[tuple[int, ...]]
    apart: Sequence[frozenset[int]]
    nets: Sequence[Net]
    slowness: Sequence[Sequence[float]]
    load: Sequence[float]
    room: Sequence[float]
    comfort: Sequence[float]
    now: Sequence[int]  # the host of each item, or NOWHERE
    nodes: Sequence[int]  # how many nodes an item is
    settled: bool = False  # moves count more than all else

    @property
    def items(self) -> range:
        return range(len(self.needs))

    @property
    def hosts(self) -> range:
        return range(len(self.capacities))

    @cached_property
    def sends(self) -> list[list[int]]:
        """The nets that each item feeds."""
        found: list[list[int]] = [[] for _ in self.items]
        for index, net in enumerate(self.nets):
            found[net.producer].append(index)
        return found

    @cached_property
    def reads(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.items]
        for index, net in enumerate(self.nets):
            for reader in net.readers:
                found[reader].append(index)
        return found

    @cached_property
    def neighbours(self) -> list[tuple[int, ...]]:
        """The items whose place changes what each item's place costs."""
        found: list[set[int]] = [set() for _ in self.items]
        for net in self.nets:
            members = (net.producer, *net.readers)
            if len(members) > 40:  # a hub: its readers hardly matter to each other
                for reader in net.readers:
                    found[reader].add(net.producer)
                    found[net.producer].add(reader)
                continue
            for member in members:
                found[member].update(members)
        return [tuple(sorted(its - {item})) for item, its in enumerate(found)]

    @cached_property
    def permitted(self) -> list[frozenset[int]]:
        return [frozenset(hosts) for hosts in self.allowed]

    @cached_property
    def like(self) -> list[int]:
        """For each host the first that is like it: nobody could tell the two apart while both are
        empty."""
        found: list[int] = []
        for host in self.hosts:
            firsts = (it for it in range(host) if found[it] == it)
            found.append(next((it for it in firsts if self._same(it, host)), host))
        return found

    def _same(self, one: int, other: int) -> bool:
        slow = self.slowness
        return (
            self.capacities[one] == self.capacities[other]
            and self.room[one] == self.room[other]
            and self.comfort[one] == self.comfort[other]
            and one not in self.now
            and other not in self.now
            and slow[one][other] == slow[other][one]
            and all((one in hosts) == (other in hosts) for hosts in self.permitted)
            and all(
                slow[one][it] == slow[other][it] and slow[it][one] == slow[it][other]
                for it in self.hosts
                if it not in (one, other)
            )
        )

    @cached_property
    def crowding_price(self) -> float:
        """Of a core too much on a host: a quarter of it outweighs all traffic."""
        worst = max((max(row, default=0.0) for row in self.slowness), default=0.0)
        return 4.0 * (1.0 + sum(net.weight * worst * len(net.readers) for net in self.nets))

    @cached_property
    def load_price(self) -> float:
        """All unevenness there can be is worth about a byte a second."""
        total = sum(self.load)
        return 1.0 / max(1e-9, total * total / min(self.room, default=1.0))

    @cached_property
    def move_price(self) -> float:
        """All nodes moved are worth less than any unevenness that one would notice."""
        if self.settled:
            return self.crowding_price * 4.0 * (1.0 + sum(self.load))
        return 1e-6 / max(1, sum(self.nodes))

    def fits(self, used: Resources, item: int, host: int) -> bool:
        return all(
            have + more <= most + TOLERANCE
            for have, more, most in zip(used, self.needs[item], self.capacities[host], strict=True)
        )


@dataclass(frozen=True)
class Cost:
    """What a placement costs, in the order in which it counts."""

    crowding: float  # cores too much
    traffic: float  # bytes a second, weighted by slowness
    unevenness: float
    moves: int  # nodes


def cost(problem: Problem, at: Sequence[int]) -> Cost:
    """Of a whole assignment, from scratch."""
    traffic = 0.0
    for net in problem.nets:
        home = problem.slowness[at[net.producer]]
        traffic += net.weight * sum(home[host] for host in {at[reader] for reader in net.readers})
    loads = [0.0] * len(problem.hosts)
    for item in problem.items:
        loads[at[item]] += problem.load[item]
    return Cost(
        crowding=sum(max(0.0, it - most) for it, most in zip(loads, problem.comfort, strict=True)),
        traffic=traffic,
        unevenness=sum(it * it / room for it, room in zip(loads, problem.room, strict=True)),
        moves=sum(
            problem.nodes[item]
            for item in problem.items
            if problem.now[item] not in (NOWHERE, at[item])
        ),
    )


def price(problem: Problem, at: Sequence[int]) -> float:
    """The same as one number, as `Work` counts it."""
    it = cost(problem, at)
    return (
        problem.crowding_price * it.crowding
        + it.traffic
        + problem.load_price * it.unevenness
        + problem.move_price * it.moves
    )


def violations(problem: Problem, at: Sequence[int]) -> list[str]:
    """What an assignment breaks of what is hard; for tests and benchmarks."""
    found: list[str] = []
    used = [[0.0] * len(row) for row in problem.capacities]
    for item in problem.items:
        host = at[item]
        if host not in problem.permitted[item]:
            found.append(f"item {item} may not be on host {host}")
            continue
        for kind, need in enumerate(problem.needs[item]):
            used[host][kind] += need
        found += [
            f"items {item} and {other} are on host {host}"
            for other in problem.apart[item]
            if other > item and at[other] == host
        ]
    for host in problem.hosts:
        for kind, most in enumerate(problem.capacities[host]):
            if used[host][kind] > most + TOLERANCE:
                found.append(f"host {host} has {most} of resource {kind}, {used[host][kind]} used")
    return found
