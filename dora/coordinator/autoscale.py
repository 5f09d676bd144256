"""Decides how many replicas a node should have, from what was measured. Pure; laptop only.

Up when they have clearly too much before them for a moment, down when one fewer would still have
clearly little for as long as the cooldown: so it does not swing. One step is at most a doubling up,
and one replica down; between two steps the cooldown passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dora.coordinator.status import NodeStatus
from dora.dataflow.model import Autoscale

SURE = 3.0  # s for which the load must be high
HIGH = 1.1  # of the target, from which on it is
LOW = 0.7  # of the target that one fewer would have, below which it is low


@dataclass(frozen=True)
class Load:
    """Of one replica on average: messages before it, and its share of a core."""

    queue: float
    cpu: float


def load_of(rows: Iterable[NodeStatus]) -> Load | None:
    """None as long as not all of these replicas run and have told."""
    rows = list(rows)
    queues, cpus = [], []
    for row in rows:
        if row.state != "running" or row.traffic is None:
            return None
        queues.append(sum(it.waiting for it in row.traffic.inputs.values()))
        cpus.append(row.cpu or 0.0)
    if not rows:
        return None
    return Load(sum(queues) / len(rows), sum(cpus) / len(rows))


class Autoscaler:
    """Of one node. `now` are seconds of any clock that does not jump."""

    def __init__(self, bounds: Autoscale) -> None:
        self.bounds = bounds
        self._changed: float | None = None
        self._high: float | None = None  # since when
        self._low: float | None = None

    def __repr__(self) -> str:
        return f"<Autoscaler {self.bounds}, high {self._high}, low {self._low}>"

    def decide(self, now: float, replicas: int, load: Load | None) -> int:
        """How many there should be. Without a load (some of them start, or are away): as many as
        there are."""
        bounds = self.bounds
        if not bounds.min <= replicas <= bounds.max:
            return self._change(now, min(max(replicas, bounds.min), bounds.max))
        if load is None:
            self._high = self._low = None
            return replicas
        share = self._share(load)
        self._high = _since(self._high, now, share > HIGH)
        fewer = share * replicas / max(replicas - 1, 1)
        self._low = _since(self._low, now, fewer < LOW)
        if self._changed is not None and now - self._changed < bounds.cooldown:
            return replicas
        if self._high is not None and now - self._high >= SURE and replicas < bounds.max:
            more = max(replicas + 1, math.ceil(replicas * min(share, 2.0)))
            return self._change(now, min(more, bounds.max))
        lasted = self._low is not None and now - self._low >= max(bounds.cooldown, SURE)
        if lasted and replicas > bounds.min:
            return self._change(now, replicas - 1)
        return replicas

    def _share(self, load: Load) -> float:
        """Of the target."""
        if self.bounds.target_queue is not None:
            return load.queue / self.bounds.target_queue
        return load.cpu / (self.bounds.target_cpu or 1.0)

    def _change(self, now: float, replicas: int) -> int:
        self._changed = now
        self._high = self._low = None
        return replicas


def _since(before: float | None, now: float, is_so: bool) -> float | None:
    if not is_so:
        return None
    return now if before is None else before
