"""A node's session with its machine's router, and what is open on it. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Callable

from dora.communication.distribution import Share
from dora.communication.inbox import capacity
from dora.communication.zenoh.joined import Closings
from dora.communication.zenoh.publisher import ZenohPublisher
from dora.communication.zenoh.replica import ReplicaSubscription
from dora.communication.zenoh.session import (
    NODE_RUNTIME,
    client_settings,
    close_session,
    open_session,
)
from dora.communication.zenoh.shared import SharedPublisher
from dora.communication.zenoh.subscription import ZenohSubscription
from dora.protocol.config import NORMAL


class ZenohLayer:
    """`router` is the Unix socket of the machine's router. Blocks until it is reachable."""

    name = "zenoh"

    def __init__(self, router: str) -> None:
        self._router = router
        self.session = open_session(client_settings(router), NODE_RUNTIME)
        self._open: list[ZenohPublisher | ZenohSubscription | ReplicaSubscription] = []
        self._is_over: Callable[[], bool] = lambda: False
        self._closed = False

    def __repr__(self) -> str:
        return f"<ZenohLayer at {self._router}{', closed' if self._closed else ''}>"

    def publish(
        self,
        route: str,
        *,
        priority: str = NORMAL,
        cache: int = 0,
        shared: bool = False,
        replica_of: str = "",
    ) -> ZenohPublisher:
        """With a `cache`, that many messages are kept for subscriptions that missed them. With
        `shared`, replicas may share the route. `replica_of`: the node, if this is a replica's."""
        sharing = None
        if shared:
            dataflow, node, output = route.split("/", 2)
            replica = int(node.rpartition(".")[2]) if replica_of else 0
            named = f"{dataflow}/{replica_of or node}/{output}"
            sharing = SharedPublisher(self.session, named, replica, lambda: self._is_over())
        publisher = ZenohPublisher(self.session, route, priority, cache, sharing)
        self._keep(publisher)
        return publisher

    def subscribe(
        self,
        route: str,
        queue_size: int,
        queue_policy: str,
        *,
        cache: int = 0,
        share: Share | None = None,
    ) -> ZenohSubscription | ReplicaSubscription:
        """`backpressure` does not reach a sender on another machine: the queue is enlarged to ten
        times its size, at least 100, as dora does (`inbox.capacity`).

        `cache` is that of the route's publishers, if they have one: what is missed is asked for
        again, and a subscription that comes late begins with what they still keep. With `share`,
        each message goes to one of all that share it, none is lost on the way, and `backpressure`
        does reach the sender.
        """
        return self._subscribe(route, queue_size, queue_policy, cache, share, None)

    def join(
        self,
        route: str,
        queue_size: int,
        queue_policy: str,
        *,
        cache: int = 0,
        share: Share | None = None,
    ) -> ZenohSubscription | ReplicaSubscription:
        """What all replicas of the route's node send, as `subscribe`. They may come and go."""
        dataflow, node, _ = route.split("/", 2)
        closings = Closings(self.session, dataflow, node)
        return self._subscribe(route, queue_size, queue_policy, cache, share, closings)

    def _subscribe(
        self,
        route: str,
        queue_size: int,
        queue_policy: str,
        cache: int,
        share: Share | None,
        closings: Closings | None,
    ) -> ZenohSubscription | ReplicaSubscription:
        limit = capacity(queue_size, queue_policy)
        subscription: ZenohSubscription | ReplicaSubscription
        if share is None:
            subscription = ZenohSubscription(self.session, route, limit, cache, closings)
        else:
            subscription = ReplicaSubscription(
                self.session, route, share, queue_size, queue_policy, closings
            )
        self._keep(subscription)
        return subscription

    def _keep(self, item: ZenohPublisher | ZenohSubscription | ReplicaSubscription) -> None:
        self._open = [it for it in self._open if not it.closed]
        self._open.append(item)

    def heed(self, is_over: Callable[[], bool]) -> None:
        """From now on nobody waits for replicas any more once `is_over`."""
        self._is_over = is_over

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for item in list(self._open):
            item.shut()
        close_session(self.session)
