"""Decides how many replicas there should be, from what was measured. Pure; laptop only.

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
from dora.protocol.config import replica_name

SURE = 3.0  # s for which the load must be high
HIGH = 1.1  # of the target, from which on it is
LOW = 0.7  # of the target that one fewer would have, below which it is low


@dataclass(frozen=True)
class Load:
    """Of one replica on average: messages before it, and its share of a core. (Of an operator: the
    share of its time that it spends in calls; None while too little is known of that.)"""

    queue: float
    cpu: float | None


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


def operator_load(row: NodeStatus, operator: str) -> Load | None:
    """As `load_of`, of the replicas of an operator of this runtime. If it has more operators than
    it can tell of, the replicas that it tells of stand for the others."""
    traffic = row.traffic
    if row.state != "running" or traffic is None or operator not in traffic.operators:
        return None
    count = row.replicas[operator]
    names = [replica_name(operator, number) for number in range(1, count + 1)]
    told = [name for name in names if name in traffic.operators]
    everybody = sum(traffic.operator_states.values()) + len(row.replicas)
    if len(told) < count and len(traffic.operators) == everybody:
        return None  # some have not begun
    if not told or any(traffic.operators[name].state != "running" for name in told):
        return None
    shares = [row.busy[name] for name in told if name in row.busy]
    cpu = sum(shares) / len(shares) if len(shares) == len(told) else None
    return Load(traffic.operators[operator].depth / count, cpu)


class Autoscaler:
    """Of one node or one operator. `now` are seconds of any clock that does not jump."""

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
        if bounds.bound(replicas) != replicas:
            return self._change(now, bounds.bound(replicas))
        share = None if load is None else self._share(load)
        if share is None:
            self._high = self._low = None
            return replicas
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

    def _share(self, load: Load) -> float | None:
        """Of the target."""
        if self.bounds.target_queue is not None:
            return load.queue / self.bounds.target_queue
        return None if load.cpu is None else load.cpu / (self.bounds.target_cpu or 1.0)

    def _change(self, now: float, replicas: int) -> int:
        self._changed = now
        self._high = self._low = None
        return replicas


def _since(before: float | None, now: float, is_so: bool) -> float | None:
    if not is_so:
        return None
    return now if before is None else before
