"""Which operators may hold back which others, and none waits for ever. Pure; nodes (>= 3.10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from dora.runtime.task import Queue, Task


def without_loops(edges: Iterable[tuple[Task, Queue]]) -> dict[Queue, tuple[Task, ...]]:
    """queue -> its feeders, without the edges that lie on a loop, or between two loops."""
    edges = list(edges)
    forward: dict[Task, list[Task]] = {}
    backward: dict[Task, list[Task]] = {}
    for sender, queue in edges:
        forward.setdefault(sender, []).append(queue.task)
        backward.setdefault(queue.task, []).append(sender)
    tangled = _stuck(forward) & _stuck(backward)
    feeders: dict[Queue, dict[Task, None]] = {}
    for sender, queue in edges:
        if sender not in tangled or queue.task not in tangled:
            feeders.setdefault(queue, {})[sender] = None
    return {queue: tuple(senders) for queue, senders in feeders.items()}


def _stuck(graph: Mapping[Task, Iterable[Task]]) -> set[Task]:
    """What a topological sort of `graph` cannot reach: loops, and what lies behind them."""
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError:
        pass  # it still gives what comes before the loops
    left = {task for task, others in graph.items() for task in (task, *others)}
    while ready := sorter.get_ready():
        left.difference_update(ready)
        sorter.done(*ready)
    return left
