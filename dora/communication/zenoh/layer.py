"""A node's session with its machine's router, and what is open on it. Node (>= 3.10)."""

from __future__ import annotations

from dora.communication.inbox import capacity
from dora.communication.zenoh.publisher import ZenohPublisher
from dora.communication.zenoh.session import (
    NODE_RUNTIME,
    client_settings,
    close_session,
    open_session,
)
from dora.communication.zenoh.subscription import ZenohSubscription
from dora.protocol.config import NORMAL


class ZenohLayer:
    """`socket` is the Unix socket of the machine's router. Blocks until it is reachable."""

    name = "zenoh"

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.session = open_session(client_settings(socket), NODE_RUNTIME)
        self._open: list[ZenohPublisher | ZenohSubscription] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<ZenohLayer at {self._socket}{', closed' if self._closed else ''}>"

    def publish(self, route: str, *, priority: str = NORMAL, cache: int = 0) -> ZenohPublisher:
        """With a `cache`, that many messages are kept for subscriptions that missed them."""
        publisher = ZenohPublisher(self.session, route, priority, cache)
        self._open.append(publisher)
        return publisher

    def subscribe(
        self, route: str, queue_size: int, queue_policy: str, *, cache: int = 0
    ) -> ZenohSubscription:
        """`backpressure` does not reach a sender on another machine: the queue is enlarged to ten
        times its size, at least 100, as dora does (`inbox.capacity`).

        `cache` is that of the route's publishers, if they have one: what is missed is asked for
        again, and a subscription that comes late begins with what they still keep.
        """
        limit = capacity(queue_size, queue_policy)
        subscription = ZenohSubscription(self.session, route, limit, cache)
        self._open.append(subscription)
        return subscription

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for item in self._open:
            item.shut()
        close_session(self.session)
