"""An edge and all that was seen around it: data only, from `collect`, for `decide`. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dora.coordinator.onlooker import UDP, Reached
from dora.coordinator.status import NodeStatus
from dora.coordinator.wires import UNSAID, Count, Wire


@dataclass(frozen=True)
class Way:
    """Whether one machine reaches the other's router; by TCP, whether it can call a node there."""

    source: str
    target: str
    port: int
    reached: Reached
    protocol: str = UDP


@dataclass(frozen=True)
class Situation:
    """`seconds` is how long was looked, `now` the laptop's time (epoch)."""

    wire: Wire
    consumer: NodeStatus
    producer: NodeStatus | None  # None: a timer; of replicas one that runs, if one does
    replicas: tuple[NodeStatus, ...] = ()  # the other ones
    routers: Mapping[str, NodeStatus] = field(default_factory=dict)  # of the machines in question
    ways: tuple[Way, ...] = ()
    halted: frozenset[tuple[str, str]] = frozenset()  # (machine, node) whose process is stopped
    sent: Count = UNSAID
    fed: Count = UNSAID  # what the producer has received itself
    received: Count = UNSAID
    dropped: Count = UNSAID
    seconds: float = 0.0
    now: float = 0.0

    @property
    def is_direct(self) -> bool:
        """Whether messages pass no router."""
        return self.wire.layer == "direct"

    @property
    def machines(self) -> tuple[str, ...]:
        """The producer's, then the consumer's if it is another one."""
        ends = [self.consumer] if self.producer is None else [self.producer, self.consumer]
        return tuple(dict.fromkeys(end.machine for end in ends))
