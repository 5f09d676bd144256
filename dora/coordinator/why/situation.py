"""An edge and all that was seen around it: data only, from `collect`, for `decide`. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dora.coordinator.onlooker import Reached
from dora.coordinator.status import NodeStatus
from dora.protocol.traffic import Traffic

TIMER = "dora/timer/"


@dataclass(frozen=True)
class Wire:
    """How an input is fed. `source` is `node/output` or a timer, as the flow file has it; the
    queue's size and policy are None where the consumer's machine did not tell them."""

    deployment: str
    consumer: str
    input: str
    source: str
    layer: str  # shm | zenoh | memory | timer
    queue_size: int | None = None
    queue_policy: str | None = None
    timeout: float | None = None  # s

    @property
    def is_timer(self) -> bool:
        return self.source.startswith(TIMER)

    @property
    def producer(self) -> str | None:
        return None if self.is_timer else self.source.partition("/")[0]

    @property
    def output(self) -> str:
        return self.source.partition("/")[2]

    @property
    def where(self) -> str:
        return f"{self.consumer}/{self.input}"


@dataclass(frozen=True)
class Count:
    """Messages since the process started, and a second of late; None: nobody has said."""

    total: int | None = None
    rate: float | None = None

    @property
    def moves(self) -> bool:
        return bool(self.rate)


@dataclass(frozen=True)
class Way:
    """Whether one machine reaches the other's router."""

    source: str
    target: str
    port: int
    reached: Reached


@dataclass(frozen=True)
class Situation:
    """`seconds` is how long was looked, `now` the laptop's time (epoch)."""

    wire: Wire
    consumer: NodeStatus
    producer: NodeStatus | None  # None: a timer
    routers: Mapping[str, NodeStatus] = field(default_factory=dict)  # of the machines in question
    ways: tuple[Way, ...] = ()
    halted: frozenset[tuple[str, str]] = frozenset()  # (machine, node) whose process is stopped
    sent: Count = Count()
    received: Count = Count()
    dropped: Count = Count()
    seconds: float = 0.0
    now: float = 0.0

    @property
    def machines(self) -> tuple[str, ...]:
        """The producer's, then the consumer's if it is another one."""
        ends = [self.consumer] if self.producer is None else [self.producer, self.consumer]
        return tuple(dict.fromkeys(end.machine for end in ends))


def count(before: NodeStatus, now: NodeStatus, seconds: float, what: str, name: str) -> Count:
    """`what` (sent, received, dropped) of one output or input, and how it grew. Pure."""
    total = _total(now.traffic, what, name)
    past = _total(before.traffic, what, name)
    if total is None or past is None or before.pid != now.pid or seconds <= 0 or total < past:
        return Count(total)
    return Count(total, (total - past) / seconds)


def _total(traffic: Traffic | None, what: str, name: str) -> int | None:
    """None also for a node with so many edges that it tells no names."""
    if traffic is None:
        return None
    if what == "sent":
        found = traffic.outputs.get(name)
        return 0 if found is None and not traffic.sent else found
    wired = traffic.inputs.get(name)
    if wired is not None:
        return wired.received if what == "received" else wired.dropped
    operator = traffic.operators.get(name.partition("/")[0])
    if operator is not None and "/" in name:  # fed by an operator beside it: not counted by input
        return operator.received if what == "received" else operator.dropped
    return 0 if not traffic.received and not traffic.dropped else None
