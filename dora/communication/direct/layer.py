"""What one node sends and receives past the routers of two machines. Node (>= 3.10)."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from dora.communication.direct.caller import Caller
from dora.communication.direct.calling import Call, socket_of
from dora.communication.direct.line import Line
from dora.communication.direct.listener import Listener
from dora.communication.direct.publisher import DirectPublisher, Route
from dora.communication.direct.subscription import DirectSubscription
from dora.communication.direct.transport import Secrecy
from dora.communication.inbox import BACKPRESSURE, capacity
from dora.communication.shm.forks import abandon_in_children
from dora.communication.zenoh.session import direct, hold, release
from dora.protocol.config import Links


class DirectLayer:
    """`router` is the socket of this machine's router, `session` the node's with it."""

    name = "direct"

    def __init__(self, session: Any, router: str, node: str, links: Links) -> None:
        self._session = session
        self._router = router
        self._node = node
        self._secrecy = Secrecy(links)
        self._routes: dict[str, Route] = {}
        self._caches: dict[str, int] = {}
        self._listener: Listener | None = None
        self._subscriptions: list[DirectSubscription] = []
        self._lock = threading.Lock()
        self._closed = False
        self._is_over: Callable[[], bool] = lambda: False
        abandon_in_children(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._subscriptions)} subscriptions"
        return f"<DirectLayer of {self._node}, {state}>"

    def publish(self, route: str, *, cache: int = 0) -> DirectPublisher:
        """With a `cache`, that many messages are kept for readers that missed them. Raises
        DoraError if readers cannot be let in."""
        with self._lock:
            shared = self._routes.setdefault(route, Route())
            self._caches[route] = cache
            publisher = DirectPublisher(shared, cache)
            if self._listener is None:
                path = socket_of(self._router, self._node)
                self._listener = Listener(
                    path, self._secrecy, lambda it: it in self._routes, self._attach
                )
                self._listener.heed(self._is_over)
        return publisher

    def subscribe(
        self,
        route: str,
        queue_size: int,
        queue_policy: str,
        *,
        cache: int = 0,
        at: str = "",
        name: str = "",
    ) -> DirectSubscription:
        """`cache`: that of the route's publisher, which keeps what the queue has no room for.
        `at`: `host:port` of the router of the sender's machine; `name`: of the input.
        `backpressure` holds the sender back, unless the reader takes nothing for a second; what the
        link holds is under way besides. Raises ValueError for an unknown policy, or without `at`.
        """
        if ":" not in at:
            raise ValueError(f"{route} is to be read directly, and at {at!r} nobody can be called")
        holds = queue_policy == BACKPRESSURE
        limit = max(queue_size, 1) if holds else capacity(queue_size, queue_policy)
        dataflow, node, output = route.split("/", 2)
        subscription = DirectSubscription(
            route,
            f"{self._node}/{name}",
            limit,
            lambda: caller.again(),
            patient=holds or cache > 0,
            hold=holds,
        )
        words = hold(
            self._session.declare_subscriber(
                f"{dataflow}/@word/{node}/{output}",
                direct(lambda sample: subscription.word(_attached(sample))),
            )
        )
        caller = Caller(at, node, self._secrecy, subscription.call, subscription.connect)

        def part() -> None:
            caller.end()
            release(words)
            if not self._closed:  # else the whole session goes
                words.undeclare()

        subscription.part = part
        self._subscriptions = [it for it in self._subscriptions if not it.closed]
        self._subscriptions.append(subscription)
        return subscription

    def trust(self, links: Links) -> None:
        """Whom to know from now on: other nodes have come, or some have moved."""
        self._secrecy.trust(links)

    def readers(self, route: str) -> Counter[str]:
        """`node/input` -> how often it is connected with this route."""
        shared = self._routes.get(route)
        return Counter() if shared is None else shared.readers()

    def heed(self, is_over: Callable[[], bool]) -> None:
        """Who sends does not wait here for long; the end of the layer does for slow readers."""
        with self._lock:
            self._is_over = is_over
            if self._listener is not None:
                self._listener.heed(is_over)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        if self._listener is not None:
            self._listener.close()

    def abandon(self) -> None:
        if self._listener is not None and not self._closed:
            self._listener.abandon()
        for subscription in self._subscriptions:
            if not subscription.closed:
                subscription.abandon()

    def _attach(
        self, call: Call, connection: socket.socket, wants_room: Callable[[Line], None]
    ) -> Line:
        with self._lock:
            route, cache = self._routes[call.route], self._caches[call.route]
        line = Line(connection, call.reader, wants_room, cache, hold=call.hold)
        route.attach(line, call.sender, call.number)
        return line


def _attached(sample: Any) -> bytes:
    return b"" if sample.attachment is None else bytes(sample.attachment.to_bytes())
