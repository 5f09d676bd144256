"""What a scheduler costs for each call, beside a bare Python call through a queue. One process."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from dora.protocol.runtime import OperatorConfig
from dora.runtime.scheduler import Scheduler

BACKLOG = 5  # messages of each operator that wait at once


def bare(calls: int) -> float:
    """Seconds for each call: into a deque, out of it, into the function."""
    queue: deque[int] = deque()
    begin = time.perf_counter()
    for number in range(calls):
        queue.append(number)
        _work(queue.popleft())
    return (time.perf_counter() - begin) / calls


def timed(calls: int) -> float:
    """As `bare`, with the clock that a deadline or a run time needs read once."""
    queue: deque[tuple[float, int]] = deque()
    clock = time.monotonic
    begin = now = clock()
    for number in range(calls):
        queue.append((now, number))
        _work(queue.popleft()[1])
        now = clock()
    return (clock() - begin) / calls


def scheduled(policy: str, operators: int, calls: int) -> float:
    """The same through a scheduler: a message arrives, is chosen, its call is timed and counted."""
    scheduler = Scheduler(policy)
    queues = []
    for number in range(operators):
        deadline = 0.02 if policy == "edf" else None
        config = OperatorConfig(
            id=str(number), kind="python", code="", priority=number % 5, deadline=deadline
        )
        queues.append(scheduler.add(config, {"in": (10, "drop_oldest")}).queues["in"])
    clock = time.monotonic
    begin = now = clock()
    for _ in range(max(calls // (operators * BACKLOG), 1)):
        for number in range(BACKLOG):
            for queue in queues:
                scheduler.arrived(queue, number, now)
        while (task := scheduler.next(now)) is not None:
            _work(task.event)
            now = clock()
            scheduler.finished(task, now)
    calls = max(calls // (operators * BACKLOG), 1) * operators * BACKLOG
    return (clock() - begin) / calls


def middle(measure: Callable[..., float], *arguments: Any, passes: int = 7) -> float:
    return statistics.median(measure(*arguments) for _ in range(passes))


def _work(event: Any) -> Any:
    return event
