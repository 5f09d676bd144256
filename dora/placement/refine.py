"""Makes a placement better by moves and swaps until nothing helps any more. Pure; laptop only.

Moves follow Fiduccia and Mattheyses ("A Linear-Time Heuristic for Improving Network Partitions",
DAC 1982), for many hosts: in a pass each item moves at most once, the best move first, also when
it makes things worse for a while; at the end the pass goes back to its best moment. Swaps follow
Kernighan and Lin ("An Efficient Heuristic Procedure for Partitioning Graphs", Bell System Technical
Journal 49, 1970): where a host is full, somebody has to leave it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from dora.placement.problem import TOLERANCE
from dora.placement.work import Work, first_least

PASSES = 12
UPHILL = 60  # moves in a row without a new best moment
TRIED = 2  # hosts that an item asks for a swap


def refine(work: Work, passes: int = PASSES, uphill: int = UPHILL) -> None:
    """Every item must be somewhere, and stays where it may be."""
    for _ in range(passes):
        if not _pass(work, uphill) and not _swaps(work):
            return


def _pass(work: Work, uphill: int) -> bool:
    """Whether it made things better."""
    version = [0] * len(work.at)
    queue: list[tuple[float, int, int, int]] = []

    def look(items: Iterable[int]) -> None:
        for item in items:
            version[item] += 1
            if (found := _offer(work, item)) is not None:
                heapq.heappush(queue, (found[0], item, found[1], version[item]))

    look(item for item in work.problem.items if len(work.problem.allowed[item]) > 1)
    locked: set[int] = set()
    done: list[tuple[int, int]] = []  # item, where it was
    gain = best = 0.0
    kept = 0
    while queue and len(done) - kept < uphill:
        change, item, host, seen = heapq.heappop(queue)
        if item in locked or seen != version[item]:
            continue
        now = _offer(work, item)
        if now is None:
            continue
        if now[0] > change + TOLERANCE:  # it was a better offer once
            heapq.heappush(queue, (now[0], item, now[1], seen))
            continue
        change, host = now
        done.append((item, work.at[item]))
        work.move(item, host)
        locked.add(item)
        gain += change
        if gain < best - TOLERANCE:
            best, kept = gain, len(done)
        look(other for other in work.problem.neighbours[item] if other not in locked)
    for item, host in reversed(done[kept:]):
        work.move(item, host)
    return kept > 0


def _offer(work: Work, item: int) -> tuple[float, int] | None:
    """The best move of an item to another host: what it changes, and where to."""
    here = work.take(item)
    hosts = [here, *(it for it in work.wishes(item) if it != here and work.may(item, it))]
    stay, *prices = work.prices(item, hosts)
    work.put(item, here)
    if not prices:
        return None
    price, host = first_least(prices, hosts[1:])
    return price - stay, host


def _swaps(work: Work) -> bool:
    """Lets items change places with others where they may not simply move; whether any did."""
    problem = work.problem
    better = False
    on: dict[int, set[int]] = {}
    for item, host in enumerate(work.at):
        on.setdefault(host, set()).add(item)
    for item in problem.items:
        if len(problem.allowed[item]) < 2:
            continue
        here = work.take(item)
        hosts = [here, *(host for host in work.wishes(item) if host != here)]
        least, *asked = work.traffics(item, hosts)
        work.put(item, here)
        wished = sorted(
            (price, host)
            for price, host in zip(asked, hosts[1:], strict=True)
            if price < least - TOLERANCE
        )
        for _, host in wished[:TRIED]:
            partner = _partner(work, item, host, on.get(host, set()))
            if partner is not None:
                work.take(item)
                work.take(partner)
                work.put(item, host)
                work.put(partner, here)
                on[here] = on[here] - {item} | {partner}
                on[host] = on[host] - {partner} | {item}
                better = True
                break
    return better


def _partner(work: Work, item: int, host: int, there: set[int]) -> int | None:
    """Who of a host changes places with an item best, so that all is cheaper; None if nobody."""
    here = work.take(item)
    found: int | None = None
    least = -TOLERANCE
    for other in sorted(there):
        if here not in work.problem.permitted[other]:
            continue
        work.take(other)
        if work.may(item, host):
            before = work.price(item, here)
            after = work.price(item, host)
            work.put(item, host)
            if work.may(other, here):
                after += work.price(other, here)
                work.take(item)
                work.put(item, here)
                before += work.price(other, host)
                if after - before < least:
                    least, found = after - before, other
            work.take(item)
        work.put(other, host)
    work.put(item, here)
    return found
