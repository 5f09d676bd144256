"""Which operator of a runtime is called next, and with what. Pure: no clock, no I/O (>= 3.10).

    task = scheduler.add(operator, {"image": (queue_size, queue_policy)})
    scheduler.arrived(task.queues["image"], event, since)   # a message came or was sent
    task = scheduler.next(now)                              # call it with task.event
    overrun = scheduler.finished(task, now)                 # it returned, or raised

Times are seconds of one monotonic clock. One thread calls all of this; calls of an operator may run
elsewhere between `next` and `finished` (worker threads, awaiting coroutines), while `next` gives
other operators. An operator never has two calls at once, and the messages of one input are given in
their order.

A message is due `deadline` seconds after `since`, see `since_of`. Where an operator wants to be
told of misses (`on_deadline_miss: event`) and its message is late, `task.lateness` is above 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from dora.communication.inbox import capacity
from dora.protocol.runtime import OperatorConfig
from dora.runtime.loops import without_loops
from dora.runtime.policies import POLICIES, Fifo, Policy
from dora.runtime.task import HELD, NOTICE, RUNNING, SUSPENDED, Overrun, Queue, Task

REPORT_EVERY = 5.0  # s between two reports of one operator's overruns


class Scheduler:
    """`policy`: fifo | priority | edf. `precious`: whether an event is among the last to be dropped
    from a full queue; asked only when one is full. Raises ValueError for an unknown policy."""

    def __init__(
        self, policy: str = "fifo", precious: Callable[[Any], bool] = lambda event: False
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown scheduler {policy!r}: it is one of {', '.join(POLICIES)}")
        self.policy = policy
        self._policy: Policy = POLICIES[policy]()
        # Who stands in line, where that is all there is to know of whose turn it is.
        self.line = self._policy.line if isinstance(self._policy, Fifo) else None
        self._pop = self._policy.pop
        self.push = self._policy.push
        self._free = self._policy.free
        self._precious = precious
        self._apart: dict[Task, None] = {}  # whose calls go on beside the loop

    def __repr__(self) -> str:
        return f"<Scheduler {self.policy}, {len(self._apart)} calls go on>"

    def add(self, operator: OperatorConfig, sizes: Mapping[str, tuple[int, str]]) -> Task:
        """`sizes`: input -> (queue_size, queue_policy). Raises ValueError for an unknown policy."""
        ready = self._policy.ready()
        task = Task(
            operator.id, operator.priority, operator.on_deadline_miss, operator.budget, ready
        )
        for name, (size, queue_policy) in sizes.items():
            deadline = operator.deadlines.get(name, operator.deadline)
            task.queues[name] = Queue(
                task,
                name,
                max(size, 1),
                capacity(size, queue_policy),
                inf if deadline is None else deadline,
            )
        return task

    def arrived(self, queue: Queue, event: Any, since: float) -> Any:
        """A message for an operator. Returns the event that a full queue lost for it, else None."""
        items = queue.items
        items.append((since + queue.deadline, event))
        if not queue.active:
            self.push(queue)
        if len(items) > queue.limit:
            return self.crowded(queue)
        return None

    def crowded(self, queue: Queue) -> Any:
        """The queue has passed its limit: holds its feeders back, drops what it must."""
        if queue.relay is not None:
            queue.relay()
            if len(queue.items) <= queue.brim:
                return None
        if queue.feeders and not queue.full and queue.bound:  # else its operator has ended
            queue.full = True
            for feeder in queue.feeders:
                feeder.held += 1
                feeder.off |= HELD
        items = queue.items
        if len(items) - queue.noticed <= queue.bound:
            return None
        queue.dropped += 1
        if items[0][0] != NOTICE and not self._precious(items[0][1]):
            return items.popleft()[1]
        messages = [n for n, (due, _) in enumerate(items) if due != NOTICE]
        victim = next((n for n in messages if not self._precious(items[n][1])), messages[0])
        event = items[victim][1]
        del items[victim]
        return event

    def tell(
        self, queue: Queue, event: Any, replaces: Callable[[Any], bool] = lambda before: True
    ) -> None:
        """Something that is no message (an input was closed, came back): never dropped, not late,
        given behind what waits. It replaces what was told before and has not been given yet, or of
        that what `replaces` says."""
        if queue.noticed:
            rest = [it for it in queue.items if it[0] != NOTICE or not replaces(it[1])]
            queue.noticed -= len(queue.items) - len(rest)
            queue.items.clear()
            queue.items.extend(rest)
        queue.noticed += 1
        queue.items.append((NOTICE, event))
        if not queue.active:
            self.push(queue)

    def flush(self, queue: Queue, keep: Callable[[Any], bool] = lambda event: False) -> None:
        """Throws away, uncounted, the messages that wait, but those that are to be kept."""
        kept = [item for item in queue.items if item[0] == NOTICE or keep(item[1])]
        queue.items.clear()
        queue.items.extend(kept)
        self.relieve(queue)

    def next(self, now: float) -> Task | None:
        """The operator to call: with `task.event`, from `task.queue`. None if there is nothing to
        do: until something arrives, a call has finished or an operator was resumed."""
        while (queue := self._pop()) is not None:
            task = queue.task
            due, event = queue.items.popleft()
            if queue.full:
                self.relieve(queue)
            if due < now:
                if due == NOTICE:
                    queue.noticed -= 1
                    due = inf
                elif task.on_miss == "skip":
                    self._skip(task, now - due)
                    continue
                elif task.on_miss == "event":
                    task.lateness = now - due
            task.event = event
            task.queue = queue
            task.due = due
            task.started = now
            task.off = RUNNING
            return task
        return None

    def goes_on(self, task: Task) -> None:
        """The running call has left the loop's thread, or awaits: `overdue` looks after it."""
        self._apart[task] = None

    def finished(self, task: Task, now: float) -> Overrun | None:
        """The call ended, well or not. What is to be reported of it, if anything is."""
        seconds = now - task.started
        task.runs += 1
        task.run_sum += seconds
        if seconds > task.run_max:
            task.run_max = seconds
            task.usual = min(seconds, task.budget)
        if now > task.due:
            self._missed(task, now - task.due)
        task.event = None
        if task.off == RUNNING:
            task.off = 0
            if task.ready:
                self._free(task)
        else:
            task.off &= ~RUNNING
        if self._apart:
            self._apart.pop(task, None)
        return None if seconds <= task.budget else self._overran(task, seconds, now)

    def suspend(self, task: Task) -> None:
        """No more calls until `resume`; what arrives waits, within the queues' bounds."""
        task.off |= SUSPENDED

    def resume(self, task: Task) -> None:
        """May be called twice."""
        self._clear(task, SUSPENDED)

    def remove(self, task: Task) -> int:
        """It is never called again. How many messages of its were still waiting."""
        task.off |= SUSPENDED
        self._apart.pop(task, None)
        waiting = task.depth
        for queue in task.queues.values():
            self.flush(queue)
            queue.items.clear()
            queue.noticed = 0
            queue.bound = queue.brim = queue.limit = queue.half = 0
            queue.relay = None
        return waiting

    def connect(self, edges: Iterable[tuple[Task, Queue]]) -> None:
        """All edges (who sends, where to) whose queues asked for backpressure. Called once.

        Such a sender is not called while one of its queues downstream is full: its own messages
        wait meanwhile, and may hold back its senders in turn. A call that is already running is
        never blocked, so what it sends may exceed `queue_size`, up to the queue's bound. Where
        edges form a loop nobody is held back, or all might wait for each other for ever.
        """
        for queue, feeders in without_loops(edges).items():
            queue.feeders = feeders
            _bound(queue)

    def relieve(self, queue: Queue) -> None:
        """Lets the feeders of a queue go on once it is half empty."""
        if queue.full and len(queue.items) * 2 <= queue.brim:
            queue.full = False
            for feeder in queue.feeders:
                feeder.held -= 1
                if not feeder.held:
                    self._clear(feeder, HELD)

    def resize(self, queue: Queue, size: int, queue_policy: str) -> None:
        """Another `queue_size`. Of what waits nothing is lost for that."""
        queue.size = max(size, 1)
        queue.bound = capacity(size, queue_policy)
        _bound(queue)
        self.relieve(queue)

    def share(self, queue: Queue, relay: Callable[[], object]) -> None:
        """`relay` is called for each message that comes to this queue, and takes out what it can;
        nobody is called for it otherwise."""
        queue.relay = relay
        queue.active = True
        _bound(queue)

    def feeds(self, task: Task, queue: Queue) -> None:
        """One more that is held back while the queue is full."""
        queue.feeders = (*queue.feeders, task)
        _bound(queue)
        if queue.full:
            task.held += 1
            task.off |= HELD

    def feeds_no_more(self, task: Task, queue: Queue) -> None:
        queue.feeders = tuple(it for it in queue.feeders if it is not task)

    def deadline(self) -> float | None:
        """When `overdue` will have something to say, unless a call finishes before."""
        when = min((max(it.started + it.budget, it.quiet) for it in self._apart), default=inf)
        return when if when < inf else None

    def overdue(self, now: float) -> list[Overrun]:
        """The calls that go on beside the loop and have taken longer than their budgets."""
        found = []
        for task in self._apart:
            if now >= task.quiet and now - task.started > task.budget:
                found.append(self._report(task, now - task.started, now, goes_on=True))
        return found

    def _clear(self, task: Task, reason: int) -> None:
        task.off &= ~reason
        if not task.off and task.ready:
            self._free(task)

    def _skip(self, task: Task, late: float) -> None:
        task.skipped += 1
        self._missed(task, late)
        if task.ready:
            self._free(task)

    def _missed(self, task: Task, late: float) -> None:
        task.misses += 1
        task.late_sum += late
        task.late_max = max(task.late_max, late)
        task.lateness = 0.0

    def _overran(self, task: Task, seconds: float, now: float) -> Overrun | None:
        task.overruns += 1
        task.untold += 1
        return self._report(task, seconds, now) if now >= task.quiet else None

    def _report(self, task: Task, seconds: float, now: float, *, goes_on: bool = False) -> Overrun:
        task.quiet = now + REPORT_EVERY
        calls, task.untold = max(task.untold, 1), 0
        return Overrun(task.name, seconds, task.budget, calls, goes_on)


def _bound(queue: Queue) -> None:
    """From where on there is something to do about what waits."""
    queue.brim = queue.size - 1 if queue.feeders else queue.bound
    queue.limit = queue.brim if queue.relay is None else 0
    queue.half = queue.limit // 2


def since_of(timestamp: int, wall: int, now: float) -> float:
    """From when on a message's deadline counts: when it was sent, by the wall clock (ns) that
    sender and receiver share; `wall` is that clock now. Never later than `now`.

    The clocks of two machines may differ by more than any deadline: for what comes from another
    machine use its arrival instead, which is `now`.
    """
    return now - max(wall - timestamp, 0) / 1e9
