"""Edges within a runtime that carry nothing for longer than their `input_timeout`. Node (>= 3.10).

A message on such an edge goes straight into its reader's queue, and no step is added there for the
few that have a timeout: what the sender has counted is looked at from time to time. Only while a
reader counts as silent does its sender go the long way, where the next message is noticed. Main
thread only.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from math import inf

from dora.runtime.sending import Exchange, Way
from dora.runtime.task import Queue

LOOKS = 8  # in each timeout: so much later, at most, is a silence seen


class _Edge:
    def __init__(self, queue: Queue, ways: Sequence[Way], timeout: float, now: float) -> None:
        self.queue = queue
        self.ways = ways
        self.timeout = timeout
        self.sent = self.count()
        self.heard = now

    def count(self) -> int:
        return sum(way.sent for way in self.ways)


class Silences:
    """`hush(queue, silent)` is called when an edge falls silent, and right before the next message
    is put into the queue. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        hush: Callable[[Queue, bool], None],
        exchange: Exchange,
        clock: Callable[[], float],
    ) -> None:
        self._hush = hush
        self._exchange = exchange
        self._clock = clock
        self._looks: list[tuple[float, int, _Edge]] = []
        self._numbers = count()

    def __repr__(self) -> str:
        return f"<Silences: {len(self._looks)} watched, {len(self._exchange.silent)} silent>"

    def watch(self, queue: Queue, ways: Sequence[Way], timeout: float, now: float) -> None:
        """`ways`: of all who send to it; may change meanwhile."""
        self._later(_Edge(queue, ways, timeout, now), now)

    def deadline(self) -> float:
        """When to `look` again; inf if nothing is watched."""
        return self._looks[0][0] if self._looks else inf

    def look(self, now: float) -> None:
        while self._looks and self._looks[0][0] <= now:
            edge = heapq.heappop(self._looks)[2]
            if edge.queue.bound == 0:
                continue  # its reader has ended
            sent = edge.count()
            if sent != edge.sent:
                edge.sent, edge.heard = sent, now
            if now < edge.heard + edge.timeout:
                self._later(edge, now)
            else:
                for way in edge.ways:
                    way.shut()
                self._exchange.silent[edge.queue] = partial(self._recover, edge)
                self._hush(edge.queue, True)

    def _later(self, edge: _Edge, now: float) -> None:
        soon = now + edge.timeout / LOOKS
        when = min(soon, edge.heard + edge.timeout)
        heapq.heappush(self._looks, (when, next(self._numbers), edge))

    def _recover(self, edge: _Edge) -> None:
        """A message is about to come."""
        silent = self._exchange.silent
        for way in edge.ways:
            way.inner = way.outside is None and not any(queue in silent for queue in way.queues)
        now = self._clock()
        edge.sent, edge.heard = edge.count(), now
        self._hush(edge.queue, False)
        self._later(edge, now)
