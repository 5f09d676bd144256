"""The layer between processes of one machine; see `dora.communication.base`. Node (>= 3.10)."""

from __future__ import annotations

import resource
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dora.communication.distribution import Share
from dora.communication.inbox import BACKPRESSURE, DROP_OLDEST
from dora.communication.shm.address import path_of
from dora.communication.shm.dialer import Dialer
from dora.communication.shm.endings import Endings
from dora.communication.shm.forks import abandon_in_children
from dora.communication.shm.joined import LOOK, JoinedSubscription, replicas_in
from dora.communication.shm.pool import CHUNK, Patience, Pool
from dora.communication.shm.publisher import ShmPublisher
from dora.communication.shm.reactor import Reactor
from dora.communication.shm.readers import Attendance, Readers
from dora.communication.shm.subscription import ShmSubscription
from dora.protocol.comeback import ALWAYS

_LONGEST_ERROR = 400  # characters; a word must be short
_PARTING = 1.0  # s that what waits for a replica may still go there when this node leaves
_MEETING = 1.0  # s; it takes a millisecond

_OPEN_FILES = 8192  # four for each subscription; what a process starts with is often 1024


class ShmLayer:
    """`folder` holds the sockets of the deployment's nodes on this machine.

    `node`: who we are, for those that we read from. `returns`: from when on this node is started
    again when it dies (see `protocol.comeback`); if it is not, its readers take its death for the
    end of its outputs. `document`: see
    `Endings`. `limit`: bytes of shared memory for what we send (`Pool`), `chunk`: how it grows.

    A subscription with `backpressure` blocks the sender, but for one in the sender's own process.
    In a forked child the layer does nothing.
    """

    name = "shm"

    def __init__(
        self,
        folder: str,
        *,
        node: str = "",
        returns: int = ALWAYS,
        document: Path | None = None,
        limit: int | None = None,
        chunk: int = CHUNK,
    ) -> None:
        self._folder = folder
        self._node = node
        self._reactor = Reactor()
        self._pool = Pool(self._reactor.call, limit=limit, chunk=chunk)
        self._readers = Readers(self._reactor, self._pool, returns=returns)
        self._endings = Endings(folder, document)
        self._returns = returns
        self._dialers: dict[ShmSubscription, Dialer] = {}
        self._closed = False
        _allow_open_files()
        abandon_in_children(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._dialers)} subscriptions, {self._pool}"
        return f"<ShmLayer in {self._folder}, {state}>"

    def publish(self, route: str) -> ShmPublisher:
        """Raises DoraError if readers cannot be let in."""
        node = _node_of(route)
        self._readers.listen(path_of(self._folder, node))
        self._endings.begin(node, self._returns)
        with self._pool.lock:
            shared = self._readers.route(route)
            shared.published = True
            shared.finished = False
        self._meet_ourselves(route)
        return ShmPublisher(
            self._pool,
            shared,
            lambda: self._endings.add(node, route),
            lambda: self._readers.pump(route),
        )

    def subscribe(
        self, route: str, queue_size: int, queue_policy: str, *, share: Share | None = None
    ) -> ShmSubscription:
        """Raises ValueError for an unknown policy. A queue of more than some 16,000 messages is
        cut to what a pipe can hold, with a warning. With `share`, each message goes to one of all
        that share it."""
        if queue_policy not in (DROP_OLDEST, BACKPRESSURE):
            raise ValueError(f"unknown queue policy {queue_policy!r}")
        subscription = ShmSubscription(
            route, queue_size, queue_policy, self._forget, share, self._drain
        )
        node = _node_of(route)
        dialer = Dialer(
            self._reactor,
            path_of(self._folder, node),
            subscription,
            self._node,
            (lambda: self._endings.find(node, route)) if self._endings.known else None,
        )
        self._dialers[subscription] = dialer
        self._reactor.call(dialer.connect)
        self._meet_ourselves(route)
        return subscription

    def join(
        self, route: str, queue_size: int, queue_policy: str, *, share: Share | None = None
    ) -> JoinedSubscription:
        """What all replicas of the route's node send, as `subscribe`; each has a queue of its own.
        They may come and go."""
        node = _node_of(route)

        def one(name: str) -> ShmSubscription:
            dataflow, _, output = route.split("/", 2)
            return self.subscribe(
                f"{dataflow}/{name}/{output}", queue_size, queue_policy, share=share
            )

        joined = JoinedSubscription(one, lambda: replicas_in(self._folder, node))

        def look() -> None:
            if joined.look():
                self._reactor.later(LOOK, look)

        joined.look()
        self._reactor.call(look)
        return joined

    def attendance(self) -> Attendance:
        """Which nodes read what this layer publishes."""
        return self._readers.attendance()

    def leave(self, why: str, error: str = "") -> None:
        """Says why this node leaves (see `presence.Left`), before `close`."""
        self._readers.say_leave(why, error[:_LONGEST_ERROR])
        if why == "stopped":
            self._endings.forget()

    def heed(self, fd: int, is_over: Callable[[], bool]) -> None:
        """From now on nobody waits for room any more once `is_over`, which is asked when `fd` is
        readable, and before it is waited for."""
        self._pool.patience = Patience(fd, is_over)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._readers.linger(_PARTING)
        self._readers.release_senders()
        if not self._reactor.stop():
            return
        for dialer in list(self._dialers.values()):
            dialer.close()
        self._dialers.clear()
        self._readers.close()
        self._pool.arena.close()

    def abandon(self) -> None:
        """In a forked child: what there is belongs to the parent."""
        self._closed = True
        self._pool.lock = threading.Lock()
        self._readers.abandon()
        self._reactor.abandon()
        self._dialers.clear()

    def _meet_ourselves(self, route: str) -> None:
        """Waits until our own subscriptions of a route that we publish are connected: nobody else
        would wait for them, and the first message might be missed."""
        known = list(self._dialers.items())  # others may subscribe meanwhile
        dialers = [it for subscription, it in known if subscription.route == route]
        with self._pool.lock:
            shared = self._readers.route(route)
        if not dialers or not shared.published:
            return
        for dialer in dialers:
            self._reactor.call(dialer.connect)
        deadline = time.monotonic() + _MEETING
        with self._readers.attendance() as changes:
            poll = select.poll()
            poll.register(changes.fileno(), select.POLLIN)
            while sum(subscriber.ours for subscriber in shared.everybody) < len(dialers):
                left = deadline - time.monotonic()
                if left <= 0:
                    return  # another process has taken our name over
                poll.poll(left * 1000 + 1)
                changes.present()

    def _drain(self, subscription: ShmSubscription) -> None:
        dialer = self._dialers.get(subscription)
        if dialer is not None:
            self._reactor.call(dialer.drain)

    def _forget(self, subscription: ShmSubscription) -> None:
        dialer = self._dialers.pop(subscription, None)
        if dialer is not None:
            self._reactor.call(dialer.close)


def _node_of(route: str) -> str:
    """A route is `<dataflow>/<node>/<output>`. Raises ValueError for anything else."""
    parts = route.split("/")
    if len(parts) < 3 or not all(parts) or parts[1] in (".", ".."):
        raise ValueError(f"no route: {route!r}")
    return parts[1]


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
