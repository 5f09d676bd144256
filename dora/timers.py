"""When the timers of a node tick. Pure: whoever asks says what time it is. Node (>= 3.10)."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class _Timer:
    interval: int
    limit: int
    next: int
    dropped: int = 0


class Timers:
    """`timers`: name -> (interval in ns, queue size). `now` is any clock in ns.

    All tick once at `now`, then every interval. Whoever does not come to take its ticks finds at
    most a queue of them; the oldest are dropped and counted.
    """

    def __init__(self, timers: Mapping[str, tuple[int, int]], now: int) -> None:
        """Raises ValueError for an interval that is not positive."""
        for name, (interval, _) in timers.items():
            if interval <= 0:
                raise ValueError(f"timer {name!r} has interval {interval} ns")
        self._timers = {
            name: _Timer(interval, max(limit, 1), now) for name, (interval, limit) in timers.items()
        }
        self._heap = [(now, name) for name in self._timers]
        heapq.heapify(self._heap)
        self._due: set[str] = set()

    def due(self, now: int) -> frozenset[str]:
        """The timers that have a tick waiting."""
        while self._heap and self._heap[0][0] <= now:
            self._due.add(heapq.heappop(self._heap)[1])
        return frozenset(self._due)

    def deadline(self) -> int | None:
        """When the next tick comes, None without timers; the past if one waits."""
        if self._due:
            return min(self._timers[name].next for name in self._due)
        return self._heap[0][0] if self._heap else None

    def take(self, name: str, now: int) -> int:
        """Takes the oldest waiting tick of a timer that is due; the time at which it was due."""
        timer = self._timers[name]
        late = (now - timer.next) // timer.interval + 1 - timer.limit
        if late > 0:
            timer.dropped += late
            timer.next += late * timer.interval
        tick = timer.next
        timer.next += timer.interval
        if timer.next > now:
            self._due.discard(name)
            heapq.heappush(self._heap, (timer.next, name))
        return tick

    def dropped(self, name: str) -> int:
        return self._timers[name].dropped
