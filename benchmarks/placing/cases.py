"""Random problems for the benchmark of placement; the same for the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import networkx as nx

from dora.placement.problem import NOWHERE, Net, Problem, cost, price, violations

SLACK = 1.1  # how much more than its share a host takes in large problems
RATES = (1e3, 1e4, 1e5, 1e6, 3e7)  # bytes a second
SPEEDS = (125e6, 12.5e6, 1.25e6)
KINDS = ("geometric", "random", "small world", "scale free")


def small(random: Random) -> Problem:
    """Up to 8 items and 4 hosts, with wishes of all kinds, links of all speeds, shared outputs."""
    hosts = tuple(range(random.randint(2, 4)))
    count = random.randint(2, 8 if len(hosts) < 4 else 6)
    items = range(count)
    allowed = [
        hosts
        if random.random() < 0.6
        else tuple(sorted(random.sample(hosts, random.randint(1, len(hosts)))))
        for _ in items
    ]
    apart: list[set[int]] = [set() for _ in items]
    for _ in range(random.choice((0, 0, 1, 2))):
        one, other = random.sample(items, 2)
        apart[one].add(other)
        apart[other].add(one)
    nets = []
    for producer in items:
        for _ in range(random.choice((0, 1, 1, 2))):
            others = [item for item in items if item != producer]
            readers = random.sample(others, min(len(others), random.choice((1, 1, 2, 3))))
            weight = random.choice(RATES) * random.uniform(0.5, 2)
            nets.append(Net(producer, tuple(sorted(readers)), weight))
    links = [random.choice(SPEEDS) for _ in hosts]
    return Problem(
        needs=[
            (float(random.choice((0, 0, 1, 2))), float(random.choice((0, 0, 1, 3)))) for _ in items
        ],
        capacities=[
            (float(random.choice((2, 4, 8))), float(random.choice((4, 8, 16)))) for _ in hosts
        ],
        allowed=allowed,
        apart=[frozenset(its) for its in apart],
        nets=nets,
        slowness=[
            [0.0 if a == b else SPEEDS[0] / min(links[a], links[b]) for b in hosts] for a in hosts
        ],
        load=[random.choice((0.5, 0.5, 1.0, 2.0)) for _ in items],
        room=[float(random.choice((2, 4, 8))) for _ in hosts],
        comfort=[float(random.choice((2, 4, 8))) for _ in hosts],
        now=[random.choice((NOWHERE, NOWHERE, *hosts)) for _ in items],
        nodes=[1] * count,
    )


def best_of_all(problem: Problem) -> tuple[int, ...] | None:
    """The cheapest of all placements, by looking at each; None if none is possible."""
    possible = (at for at in itertools.product(*problem.allowed) if not violations(problem, at))
    return min(possible, key=lambda at: price(problem, at), default=None)


def large(kind: str, items: int, hosts: int, seed: int) -> Problem:
    """Every output has one reader, so that traffic is the cut of a graph. Each item takes one core
    of its own; one in twenty names its host."""
    random = Random(seed)
    graph = _graph(kind, items, seed)
    nets = []
    for one, other in graph.edges():
        producer, reader = (one, other) if random.random() < 0.5 else (other, one)
        nets.append(Net(producer, (reader,), 1000.0 * random.choice((1, 2, 5, 10, 100))))
    everywhere = tuple(range(hosts))
    cores = float(-(-items * SLACK // hosts))
    return Problem(
        needs=[(1.0,)] * items,
        capacities=[(cores,)] * hosts,
        allowed=[
            (random.randrange(hosts),) if random.random() < 0.05 else everywhere
            for _ in range(items)
        ],
        apart=[frozenset()] * items,
        nets=nets,
        slowness=[[0.0 if a == b else 1.0 for b in everywhere] for a in everywhere],
        load=[1.0] * items,
        room=[items / hosts] * hosts,
        comfort=[cores] * hosts,
        now=[NOWHERE] * items,
        nodes=[1] * items,
    )


def first_match(problem: Problem) -> list[int]:
    """What dora-rs does: each item goes onto the first host that will have it; those that name
    their host first, so that they find room."""
    at = [NOWHERE] * len(problem.items)
    used = [[0.0] * len(row) for row in problem.capacities]
    for item in sorted(problem.items, key=lambda item: len(problem.allowed[item]) > 1):
        for host in problem.allowed[item]:
            if problem.fits(tuple(used[host]), item, host):
                at[item] = host
                for kind, need in enumerate(problem.needs[item]):
                    used[host][kind] += need
                break
    return at


def traffic(problem: Problem, at: Sequence[int]) -> float:
    return cost(problem, at).traffic


def _graph(kind: str, items: int, seed: int) -> nx.Graph[int]:
    if kind == "geometric":
        return nx.random_geometric_graph(items, 1.75 * items**-0.5, seed=seed)
    if kind == "random":
        return nx.gnm_random_graph(items, 3 * items, seed=seed)
    if kind == "small world":
        return nx.watts_strogatz_graph(items, 6, 0.1, seed=seed)
    return nx.barabasi_albert_graph(items, 3, seed=seed)
