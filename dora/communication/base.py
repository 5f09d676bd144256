"""The communication layer's interface: how values go from an output to an input. Node (>= 3.10).

A layer moves values between publishers and subscriptions of one route. Every implementation passes
`tests/dora/communication/suite.py`. What the layers share:

- A route is `<dataflow>/<node>/<output>` (an operator's output has its operator in between).
- Values are Arrow arrays, or buffers (bytes, bytearray, memoryview, numpy arrays) that arrive as
  the Arrow array of their element type; bytes arrive as uint8. A layer encodes only if it must.
- Order is kept per route. A subscription holds at most `queue_size` messages, then drops its oldest
  and counts that; a slow or dead subscriber never delays `send`, unless it asked for backpressure.
- `receive` never blocks. `fileno` becomes readable when there may be something to receive, so that
  one epoll in the caller's thread waits for all layers at once.
- Nothing raises because the other side is away: it may come, go and come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol


class Kind(Enum):
    DATA = 0
    CLOSED = 1  # the producer said that this was the last message of the route
    RESTARTED = 2  # the producer has died, and comes back
    FAILED = 3  # the producer has died for good; CLOSED follows


class Message(NamedTuple):
    """`value()` gives the Arrow array, decoded when first asked; it may be kept for ever.

    `timestamp` is the sender's wall clock in nanoseconds. `metadata` is ours to change. A tuple,
    since one is made for every message.

    RESTARTED and FAILED have for metadata the `process` that died (the same for all routes of a
    node) and the `error`, as text.
    """

    kind: Kind
    timestamp: int
    metadata: dict[str, Any]
    value: Callable[[], Any]


class Publisher(Protocol):
    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        """Hands the value over; the caller may change its own buffer afterwards.
        Raises TypeError for a value that no Arrow array can carry."""

    def finish(self, error: str | None = None) -> None:
        """Tells every subscriber, behind all that was sent, that nothing more will come; with
        `error`: because the producer has failed."""

    def close(self) -> None:
        """Gives everything back. May be called twice."""


class Subscription(Protocol):
    @property
    def dropped(self) -> int:
        """How many messages the queue's policy has thrown away so far."""

    def fileno(self) -> int:
        """Readable (poll) when `receive` may have something; never otherwise for long."""

    def receive(self) -> Message | None:
        """The oldest waiting message, or None. Never blocks."""

    def close(self) -> None:
        """Gives everything back; values that were received stay valid. May be called twice."""


class Layer(Protocol):
    name: str

    def publish(self, route: str) -> Publisher:
        """Several publishers of one route are allowed (a restarted node meets its own past)."""

    def subscribe(self, route: str, queue_size: int, queue_policy: str) -> Subscription:
        """Works before any publisher exists, and again after it came back."""

    def close(self) -> None:
        """Closes every publisher and subscription. May be called twice. Never hangs."""
