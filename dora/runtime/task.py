"""What the scheduler knows of one operator and of its queues. Data; runs in nodes (>= 3.10)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

# Why a task is not to be called now; several may hold at once, 0 if none does.
RUNNING = 1
SUSPENDED = 2  # by the host: it is being restarted or reloaded
HELD = 4  # a queue that it fills asked for backpressure and is full

NOTICE = -inf  # the due time of what is no message: it goes at once, and is never late


class Queue:
    """One input's messages: (due, event), oldest first. `due` is monotonic seconds, inf if none."""

    __slots__ = (
        "active",
        "bound",
        "brim",
        "deadline",
        "dropped",
        "feeders",
        "full",
        "half",
        "input",
        "items",
        "limit",
        "noticed",
        "relay",
        "size",
        "task",
    )

    def __init__(self, task: Task, name: str, size: int, bound: int, deadline: float) -> None:
        self.task = task
        self.input = name
        self.items: deque[tuple[float, Any]] = deque()
        self.size = size  # messages, as the flow file has it
        self.bound = bound  # messages; with one more, the oldest is dropped
        self.limit = bound  # items; with one more, there is something to do about it
        self.half = bound // 2  # of that; with one more, who fills it is to make way
        # Of a queue that replicas share: hands on what came; then `limit` and `half` are 0, so that
        # it is called for each message, and this is what `limit` is elsewhere.
        self.relay: Callable[[], object] | None = None
        self.brim = bound
        self.deadline = deadline  # s
        self.dropped = 0
        self.active = False  # the policy knows that something waits here
        self.noticed = 0  # how many of the items are notices
        self.full = False  # the feeders are held back
        self.feeders: tuple[Task, ...] = ()

    def __repr__(self) -> str:
        return f"<Queue {self.task.name}/{self.input}, {len(self.items)} of {self.bound}>"


class Task:
    """One operator. Between `next` and `finished` it is also its running call: `event`, `queue`.

    `owner` is the host's to set. What is public here is to be read; only the scheduler writes.
    """

    __slots__ = (
        "budget",
        "due",
        "entry",
        "event",
        "held",
        "late_max",
        "late_sum",
        "lateness",
        "misses",
        "name",
        "off",
        "on_miss",
        "overruns",
        "owner",
        "priority",
        "queue",
        "queues",
        "quiet",
        "ready",
        "run_max",
        "run_sum",
        "runs",
        "skipped",
        "started",
        "turn",
        "untold",
        "usual",
    )

    def __init__(
        self, name: str, priority: int, on_miss: str, budget: float | None, ready: Any
    ) -> None:
        self.name = name
        self.priority = priority
        self.on_miss = on_miss
        self.budget = inf if budget is None else budget
        self.queues: dict[str, Queue] = {}
        self.owner: Any = None
        # The running call.
        self.event: Any = None
        self.queue: Queue | None = None
        self.due = inf
        self.lateness = 0.0  # s; above 0 if its deadline had passed before and `on_miss` is `event`
        self.started = 0.0
        # Whose turn it is.
        self.off = 0  # RUNNING | SUSPENDED | HELD
        self.turn = 0.0  # until when it may be called at once again, see `take_turns`
        self.held = 0  # full queues that it feeds
        self.ready = ready  # the active queues, as the policy keeps them
        self.entry: Any = None  # the policy's: its place in line, None if it has none
        # What came of it.
        self.runs = 0
        self.run_sum = 0.0
        self.run_max = 0.0
        self.usual = 0.0  # s; the end of a call that took no longer needs no second look
        self.misses = 0
        self.skipped = 0
        self.late_sum = 0.0
        self.late_max = 0.0
        self.overruns = 0
        self.quiet = -inf  # until when no overrun is told
        self.untold = 0

    def __repr__(self) -> str:
        return f"<Task {self.name}, {self.depth} waiting{', off' if self.off else ''}>"

    @property
    def depth(self) -> int:
        """How much waits."""
        return sum(len(queue.items) for queue in self.queues.values())

    def in_calls(self, now: float) -> float:
        """Seconds spent in calls, with the one that goes on. May be asked by another thread: what
        ends at that moment counts the next time."""
        ended = self.run_sum
        return ended + max(now - self.started, 0.0) if self.off & RUNNING else ended

    def statistics(self) -> Statistics:
        return Statistics(
            runs=self.runs,
            misses=self.misses,
            skipped=self.skipped,
            lateness_mean=self.late_sum / self.misses if self.misses else 0.0,
            lateness_max=self.late_max,
            depth=self.depth,
            run_time=self.run_sum,
            run_max=self.run_max,
            overruns=self.overruns,
            dropped=sum(queue.dropped for queue in self.queues.values()),
        )


@dataclass(frozen=True)
class Statistics:
    """Of one operator since it was added. Times in seconds.

    A miss is a call that ended after its message's deadline, or a message that was skipped for it.
    """

    runs: int
    misses: int
    skipped: int  # of the misses
    lateness_mean: float  # of the misses; of a skipped message: when it was skipped
    lateness_max: float
    depth: int  # waiting now
    run_time: float  # of calls that have ended
    run_max: float
    overruns: int  # calls that took longer than the budget
    dropped: int


@dataclass(frozen=True)
class Overrun:
    """Calls took longer than the operator's budget; told at most every few seconds."""

    operator: str
    seconds: float  # of the last such call; so far if it goes on
    budget: float
    calls: int  # since the last time that this was told
    goes_on: bool = False

    def __str__(self) -> str:
        verb = "has been running for" if self.goes_on else "took"
        text = f"operator {self.operator}: a call {verb} {_text(self.seconds)}"
        text += f", its budget is {_text(self.budget)}"
        return text + (f" ({self.calls} such calls since this was last said)" * (self.calls > 1))


def _text(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
