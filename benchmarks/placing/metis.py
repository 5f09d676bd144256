"""METIS as the peer: its partitions, repaired until they keep to what is hard, and then polished.

Repair gives METIS what it does not know: items that name their host, capacities. It gets its best
chance: k-way and recursive bisection, several imbalances; parts are matched to the hosts that
their items name; whoever has to leave a part goes where it costs least.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.placing.cases import traffic
from dora.placement.problem import NOWHERE, Problem
from dora.placement.work import Work

SCALE = 1000  # METIS wants whole numbers
IMBALANCES = (30, 60, 100)  # thousandths


def best_partition(problem: Problem) -> list[int]:
    """The best of METIS' answers after repair."""
    repaired = (repair(problem, parts) for parts in _partitions(problem))
    return min(repaired, key=lambda at: traffic(problem, at))


def _partitions(problem: Problem) -> Iterator[Sequence[int]]:
    import pymetis

    weights: dict[tuple[int, int], float] = {}
    for net in problem.nets:
        for reader in net.readers:
            for pair in ((net.producer, reader), (reader, net.producer)):
                weights[pair] = weights.get(pair, 0.0) + net.weight
    near: list[list[int]] = [[] for _ in problem.items]
    for one, other in weights:
        near[one].append(other)
    starts = [0]
    for its in near:
        starts.append(starts[-1] + len(its))
    joined = [other for its in near for other in its]
    heavy = [
        max(1, round(weights[item, other] / SCALE))
        for item, its in enumerate(near)
        for other in its
    ]
    for recursive in (False, True):
        for imbalance in IMBALANCES:
            _, parts = pymetis.part_graph(
                len(problem.hosts),
                adjacency=pymetis.CSRAdjacency(starts, joined),
                eweights=heavy,
                recursive=recursive,
                options=pymetis.Options(ufactor=imbalance, seed=1),
            )
            yield parts


def repair(problem: Problem, parts: Sequence[int]) -> list[int]:
    """The partition as a placement: every part onto the host that most of its items name, then each
    item that may not be there, and each that is too much, to where it costs least."""
    named: dict[tuple[int, int], int] = {}
    for item, part in enumerate(parts):
        if len(problem.allowed[item]) == 1:
            key = part, problem.allowed[item][0]
            named[key] = named.get(key, 0) + 1
    host_of: dict[int, int] = {}
    for part, host in sorted(named, key=lambda key: -named[key]):
        if part not in host_of and host not in host_of.values():
            host_of[part] = host
    left = [host for host in problem.hosts if host not in host_of.values()]
    for part in problem.hosts:
        if part not in host_of:
            host_of[part] = left.pop()
    work = Work(problem)
    homeless = []
    for item in sorted(problem.items, key=lambda item: len(problem.allowed[item]) > 1):
        wanted = host_of[parts[item]]
        host = problem.allowed[item][0] if len(problem.allowed[item]) == 1 else wanted
        if work.may(item, host):
            work.put(item, host)
        else:
            homeless.append(item)
    for item in homeless:
        free = [host for host in problem.allowed[item] if work.may(item, host)]
        work.put(item, min(free, key=lambda host: work.traffic(item, host)))
    assert NOWHERE not in work.at
    return work.at
