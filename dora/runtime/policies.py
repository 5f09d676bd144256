"""Whose turn it is: the orders in which a scheduler serves what waits. Pure; nodes (>= 3.10).

A policy is told of a queue by `push` once it has something, and of a task by `free` once it may be
called again and still has something. `pop` gives the queue to serve next, of a task that is not
off, and takes note if that queue still has more afterwards. Queues may be emptied meanwhile.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from dora.runtime.task import Queue, Task

_FEW = 64  # outdated entries that are not worth a clean-up


class Policy(Protocol):
    def ready(self) -> Any:
        """For a new task: where its active queues are kept."""

    def push(self, queue: Queue) -> None:
        """`queue`, which was not active, has something."""

    def pop(self) -> Queue | None:
        """The queue whose turn it is, with something in it; None if no task may be called."""

    def free(self, task: Task) -> None:
        """`task` is no longer off."""


class Fifo:
    """Operators take turns, one call each here (`turns.py` knows more); so do the inputs of one.
    Nobody starves. O(1)."""

    def __init__(self) -> None:
        self.line: deque[Task] = deque()

    def ready(self) -> deque[Queue]:
        return deque()

    def push(self, queue: Queue) -> None:
        queue.active = True
        task = queue.task
        task.ready.append(queue)
        if task.entry is None and not task.off:
            task.entry = True
            self.line.append(task)

    def pop(self) -> Queue | None:
        line = self.line
        while line:
            task = line.popleft()
            task.entry = None
            if task.off:
                continue
            ready: deque[Queue] = task.ready
            queue = ready.popleft()
            waiting = len(queue.items)
            if waiting > 1:
                ready.append(queue)
                return queue
            queue.active = False
            if waiting:
                return queue
            self.free(task)
        return None

    def free(self, task: Task) -> None:
        if task.entry is None and task.ready:
            task.entry = True
            self.line.append(task)


class Priority:
    """The highest priority first, operators of equal priority in turns. O(log priorities)."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Task]] = {}  # priority -> who stands in line
        self._levels: list[int] = []  # heap of -priority, once for each line that is not empty

    def ready(self) -> deque[Queue]:
        return deque()

    def push(self, queue: Queue) -> None:
        queue.active = True
        queue.task.ready.append(queue)
        if not queue.task.off:
            self.free(queue.task)

    def pop(self) -> Queue | None:
        levels = self._levels
        while levels:
            line = self._lines[levels[0]]
            task = line.popleft()
            if not line:
                heappop(levels)
            task.entry = None
            if not task.off and (queue := _turn(task)) is not None:
                return queue
        return None

    def free(self, task: Task) -> None:
        if task.entry is None and task.ready:
            task.entry = True
            level = -task.priority
            line = self._lines.get(level)
            if line is None:
                line = self._lines[level] = deque()
            if not line:
                heappush(self._levels, level)
            line.append(task)


class Edf:
    """The earliest deadline first; then, and for what has none, as `Priority`.

    A task stands in line with the earliest of its queues' first messages. Its place is outdated
    when a more urgent one comes to another of its queues: then it gets a second place and the
    first, worth nothing, goes when it comes up or when there are too many of them. O(log n).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Task]] = []
        self._count = 0
        self._outdated = 0

    def ready(self) -> list[tuple[float, int, Queue]]:
        return []

    def push(self, queue: Queue) -> None:
        queue.active = True
        task = queue.task
        self._count += 1
        heappush(task.ready, (queue.items[0][0], self._count, queue))
        if not task.off and task.ready[0][2] is queue:
            self._stand(task)

    def pop(self) -> Queue | None:
        heap = self._heap
        while heap:
            _, _, count, task = heappop(heap)
            if task.entry != count:
                self._outdated -= 1
                continue
            task.entry = None
            if task.off:
                continue
            ready: list[tuple[float, int, Queue]] = task.ready
            due, _, queue = heappop(ready)
            items = queue.items
            if items and items[0][0] <= due:
                if len(items) > 1:
                    self._count += 1
                    heappush(ready, (items[1][0], self._count, queue))
                else:
                    queue.active = False
                return queue
            # What this place was taken for has been dropped meanwhile.
            if items:
                self._count += 1
                heappush(ready, (items[0][0], self._count, queue))
            else:
                queue.active = False
            self.free(task)
        return None

    def free(self, task: Task) -> None:
        if task.entry is None and task.ready:
            self._stand(task)

    def _stand(self, task: Task) -> None:
        if task.entry is not None:
            self._outdated += 1
            if self._outdated > _FEW and self._outdated * 2 > len(self._heap):
                task.entry = None
                self._heap = [place for place in self._heap if place[3].entry == place[2]]
                heapify(self._heap)
                self._outdated = 0
        self._count += 1
        task.entry = self._count
        heappush(self._heap, (task.ready[0][0], -task.priority, self._count, task))


POLICIES: dict[str, type[Fifo] | type[Priority] | type[Edf]] = {
    "fifo": Fifo,
    "priority": Priority,
    "edf": Edf,
}


def _turn(task: Task) -> Queue | None:
    """The least recently served of the task's active queues; it goes behind the others."""
    ready: deque[Queue] = task.ready
    while ready:
        queue = ready.popleft()
        waiting = len(queue.items)
        if waiting > 1:
            ready.append(queue)
        else:
            queue.active = False
        if waiting:
            return queue
    return None
