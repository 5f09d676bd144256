"""How good placements are, and how long they take: `python -m benchmarks.placement`.

Small problems beside the best of all placements; large ones beside METIS (pymetis, fetched once)
and beside taking the first machine that matches, as dora-rs does. All of them keep to the same
capacities and wishes, and are judged by the same function.

With --lan, instead, a flow that runs: three robots in network namespaces, one of them with a slow
link, and what arrives over it as we place the flow and as the first machine that matches does.
Needs root.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from random import Random

from rich.console import Console
from rich.table import Table

from benchmarks.environments import add_packages
from benchmarks.placing.cases import KINDS, best_of_all, first_match, large, small, traffic
from benchmarks.placing.metis import best_partition
from benchmarks.placing.running import compare_running
from dora.placement.problem import violations
from dora.placement.solve import solve

ALLOWED = 0.02  # share of the traffic that was avoidable, on average


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000, help="small problems")
    parser.add_argument("--items", type=int, default=1000, help="nodes of a large problem")
    parser.add_argument("--hosts", type=int, default=50, help="its machines")
    parser.add_argument("--seeds", type=int, default=2, help="large problems of each kind")
    parser.add_argument("--lan", action="store_true", help="a running flow and a slow link instead")
    parser.add_argument("--seconds", type=float, default=15.0, help="of counting there, each")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if given.lan:
        return 0 if compare_running(console, given.seconds) else 1
    good = compare_small(console, given.cases)
    good = compare_large(console, given.items, given.hosts, given.seeds) and good
    return 0 if good else 1


def compare_small(console: Console, cases: int) -> bool:
    """Beside the optimum: as small problems are solved, and with the search for large ones alone,
    which is shown and not judged."""
    random = Random(0)
    ways = {"as it is used": None, "as larger ones are": 0}
    excess: dict[str, list[float]] = {way: [] for way in ways}
    seconds = dict.fromkeys(ways, 0.0)
    wrong = impossible = 0
    for _ in range(cases):
        problem = small(random)
        best = best_of_all(problem)
        impossible += best is None
        for way, size in ways.items():
            began = time.perf_counter()
            found = solve(problem) if size is None else solve(problem, small=size)
            seconds[way] += time.perf_counter() - began
            if best is None or found is None:
                wrong += (best is None) != (found is None)
                continue
            wrong += bool(violations(problem, found.at))
            least, ours = traffic(problem, best), traffic(problem, found.at)
            excess[way].append(0.0 if ours <= least else 1.0 - least / ours)
    table = Table(
        title=f"{cases} small problems ({impossible} of them impossible) beside the optimum",
        caption=f"wrong answers, or placements that break a wish: {wrong}",
    )
    for title in ("", "avoidable traffic", "not the least", "ms each", "within 2 %"):
        table.add_column(title, justify="right" if title else "left")
    good = wrong == 0
    for way in ways:
        mean = statistics.mean(excess[way])
        good = good and (mean <= ALLOWED or ways[way] is not None)
        missed = sum(it > 1e-9 for it in excess[way])
        met = "met" if mean <= ALLOWED else "NOT MET"
        each = seconds[way] / cases * 1e3
        table.add_row(way, f"{mean:.3%}", str(missed), f"{each:.1f}", met)
    console.print(table)
    return good


def compare_large(console: Console, items: int, hosts: int, seeds: int) -> bool:
    try:
        add_packages("pymetis", ("pymetis>=2025",))
    except RuntimeError as error:
        console.print(f"large problems need the peer, which could not be had: {error}")
        return False
    table = Table(
        title=f"{items} nodes on {hosts} machines: MB/s over the network",
        caption="METIS: the best of k-way and recursive bisection with three imbalances, repaired; "
        "target: not more than METIS, less than half of first match",
    )
    titles = ("ours", "METIS", "first match", "ours/METIS", "ours/first", "s", "METIS s", "target")
    for title in ("graph", *titles):
        table.add_column(title, justify="right" if title in titles else "left", no_wrap=True)
    good = True
    for kind in KINDS:
        for seed in range(seeds):
            problem = large(kind, items, hosts, seed)
            began = time.perf_counter()
            found = solve(problem)
            middle = time.perf_counter()
            peer = best_partition(problem)
            end = time.perf_counter()
            assert found is not None
            for at in (found.at, peer):
                assert not violations(problem, at), violations(problem, at)
            ours, theirs = traffic(problem, found.at), traffic(problem, peer)
            first = traffic(problem, first_match(problem))
            met = ours <= theirs and ours < first / 2
            good = good and met
            table.add_row(
                kind,
                *(f"{it / 1e6:.2f}" for it in (ours, theirs, first)),
                f"{ours / theirs if theirs else math.nan:.2f}",
                f"{ours / first:.2f}",
                f"{middle - began:.1f}",
                f"{end - middle:.1f}",
                "met" if met else "NOT MET",
            )
    console.print(table)
    return good


if __name__ == "__main__":
    sys.exit(main())
