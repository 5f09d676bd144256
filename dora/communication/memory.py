"""The layer inside one process: values go by reference, no copy, no encoding. Node (>= 3.10)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.header import flags_of
from dora.communication.inbox import Inbox, capacity
from dora.metadata import copied


class MemoryLayer:
    """Thread safe: publishers and subscriptions may be used from any threads.

    An Arrow array is passed as it is (Arrow arrays are immutable: whoever builds one on top of a
    numpy array's memory must not change that afterwards); any other buffer is copied once.
    """

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, tuple[MemorySubscription, ...]] = {}

    def __repr__(self) -> str:
        return f"<MemoryLayer with subscriptions of {len(self._routes)} routes>"

    def publish(self, route: str) -> MemoryPublisher:
        return MemoryPublisher(self, route)

    def subscribe(self, route: str, queue_size: int, queue_policy: str) -> MemorySubscription:
        """`backpressure` enlarges the queue (`inbox.capacity`): a thread of a runtime that waits
        for another one of the same runtime could wait for ever."""
        subscription = MemorySubscription(self, route, capacity(queue_size, queue_policy))
        with self._lock:
            self._routes[route] = (*self._routes.get(route, ()), subscription)
        return subscription

    def close(self) -> None:
        with self._lock:
            routes, self._routes = self._routes, {}
        for subscriptions in routes.values():
            for subscription in subscriptions:
                subscription.close()

    def subscriptions(self, route: str) -> tuple[MemorySubscription, ...]:
        return self._routes.get(route, ())

    def forget(self, subscription: MemorySubscription) -> None:
        with self._lock:
            left = tuple(s for s in self.subscriptions(subscription.route) if s is not subscription)
            if left:
                self._routes[subscription.route] = left
            else:
                self._routes.pop(subscription.route, None)


class MemoryPublisher:
    def __init__(self, layer: MemoryLayer, route: str) -> None:
        self._layer = layer
        self._route = route
        self._closed = False

    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        parcel = share(value)
        subscriptions = () if self._closed else self._layer.subscriptions(self._route)
        flush, precious = flags_of(metadata) if metadata else (False, False)
        for subscription in subscriptions:
            # Each receiver may change its own metadata.
            message = Message(Kind.DATA, timestamp, copied(metadata), parcel)
            subscription.inbox.put(message, flush=flush, precious=precious)

    def finish(self, error: str | None = None) -> None:
        if self._closed:
            return
        for subscription in self._layer.subscriptions(self._route):
            message = Message(Kind.CLOSED, 0, {}, _no_value)
            subscription.inbox.put(message, Kind.CLOSED)

    def close(self) -> None:
        self._closed = True


class MemorySubscription:
    def __init__(self, layer: MemoryLayer, route: str, limit: int) -> None:
        self._layer = layer
        self.route = route
        self.inbox: Inbox[Message] = Inbox(limit)

    @property
    def dropped(self) -> int:
        return self.inbox.dropped

    def fileno(self) -> int:
        return self.inbox.fileno()

    def receive(self) -> Message | None:
        return self.inbox.take()

    def close(self) -> None:
        self._layer.forget(self)
        self.inbox.close()


class _Parcel:
    """One value on its way to several receivers, who share the array that the first one needs."""

    def __init__(self, array: Any, encoded: arrow.Encoded | None = None) -> None:
        self._array = array
        self._encoded = encoded

    def open(self) -> Any:
        return self._array if self._encoded is None else self._decoded

    @cached_property
    def _decoded(self) -> Any:
        assert self._encoded is not None
        return arrow.decode(*self._encoded)


def share(value: Any) -> Callable[[], Any]:
    """What gives several receivers one Arrow array: `value` itself if it is one, else a copy of the
    buffer that it is, which becomes an array when the first of them asks.

    Raises TypeError for a value that no Arrow array can carry.
    """
    if is_arrow(value):
        return _Parcel(value).open
    encoded = arrow.encode(value)
    buffer = encoded.buffer if isinstance(encoded.buffer, bytes) else bytes(encoded.buffer)
    return _Parcel(None, arrow.Encoded(encoded.form, buffer)).open


def is_arrow(value: Any) -> bool:
    """Without loading pyarrow: who has an array has loaded it."""
    pyarrow = sys.modules.get("pyarrow")
    return pyarrow is not None and isinstance(value, pyarrow.Array)


def _no_value() -> None:
    return None
