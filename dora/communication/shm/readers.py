"""Those who read our outputs: lets them in, sees them go. Node (>= 3.10), reactor's thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from socket import socket

from dora.communication.shm.address import Listener, inherited_socket, listen
from dora.communication.shm.handshake import (
    Drain,
    Leave,
    Subscribe,
    Welcome,
    peer_of,
    receive_word,
    send_word,
)
from dora.communication.shm.pool import Pool
from dora.communication.shm.reactor import Reactor
from dora.communication.shm.route import Route
from dora.communication.shm.sender import Subscriber
from dora.protocol.process import identity

logger = logging.getLogger("dora")

_SOON = 0.005  # s until it is looked again whether replicas have room
_MISER = 1.0  # s; pause when the process has no room for more open files


class Readers:
    """`returns`: as the readers are told (`handshake.Welcome`)."""

    def __init__(self, reactor: Reactor, pool: Pool, *, returns: int) -> None:
        self._reactor = reactor
        self._pool = pool
        self._welcome = Welcome(returns, identity())
        self._routes: dict[str, Route] = {}
        self._listeners: dict[Path, Listener] = {}
        self._peers: dict[int, tuple[socket, Subscriber | None]] = {}
        self._pumping: set[str] = set()  # routes where something waits for a replica
        self._wakes: list[int] = []
        self._waking = threading.Lock()

    def __repr__(self) -> str:
        return f"<Readers: {sorted(self.present())} of {sorted(self._routes)}>"

    def route(self, name: str) -> Route:
        """Whoever calls holds the pool's lock."""
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = Route(name)
        return route

    def listen(self, path: Path) -> None:
        """From any thread. Raises DoraError if the path cannot be listened on."""
        if path in self._listeners:
            return
        listener = self._listeners[path] = listen(path, inherited_socket())
        sock = listener.socket
        self._reactor.call(lambda: self._reactor.watch(sock.fileno(), lambda: self._accept(sock)))

    def present(self) -> frozenset[str]:
        """The nodes that read any of our outputs now."""
        with self._pool.lock:
            return frozenset(s.node for s in self._pool.subscribers if s.node and s.listening)

    def subscriptions(self) -> Counter[tuple[str, str]]:
        """How often each node (node, route) listens to what we send."""
        with self._pool.lock:
            return Counter((s.node, s.route) for s in self._pool.subscribers if s.listening)

    def attendance(self) -> Attendance:
        return Attendance(self)

    def say_leave(self, why: str, error: str) -> None:
        """Tells all readers why this node leaves."""
        for sock, _ in list(self._peers.values()):
            try:
                send_word(sock, Leave(why, error))
            except OSError:
                pass  # gone already

    def linger(self, seconds: float) -> None:
        """Until nothing waits for a replica that is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._pool.lock:
                groups = [group for route in self._routes.values() for group in route.groups]
                if not any(group.waiting and group.lanes for group in groups):
                    return
            time.sleep(_SOON)

    def release_senders(self) -> None:
        """Nobody reads any more, nobody waits for readers."""
        with self._pool.lock:
            for route in self._routes.values():
                route.clear()
            for subscriber in self._pool.subscribers:
                if subscriber.listening:
                    subscriber.wake()

    def close(self) -> None:
        """When the reactor has stopped."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        with self._pool.lock:
            for sock, subscriber in self._peers.values():
                if subscriber is not None:
                    subscriber.gone()
                sock.close()
            self._peers.clear()
            self._pool.subscribers.clear()

    def abandon(self) -> None:
        """In a forked child."""
        for listener in self._listeners.values():
            listener.close(remove=False)
        for sock, _ in self._peers.values():
            sock.close()
        for route in self._routes.values():
            route.clear()

    def watch_changes(self, wake: int) -> None:
        with self._waking:
            self._wakes.append(wake)

    def forget_changes(self, wake: int) -> None:
        with self._waking:  # after this nobody writes to it: the number may be used again
            self._wakes.remove(wake)

    def _accept(self, listening: socket) -> None:
        try:
            sock, _ = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:  # out of file descriptors, most likely
            logger.warning("a reader could not be let in: %s", error)
            self._reactor.forget(listening.fileno())
            self._reactor.later(
                _MISER,
                lambda: self._reactor.watch(listening.fileno(), lambda: self._accept(listening)),
            )
            return
        sock.setblocking(False)
        uid = peer_of(sock)[1]
        if uid != os.geteuid():
            logger.warning("user %d may not read what user %d sends", uid, os.geteuid())
            sock.close()
            return
        self._peers[sock.fileno()] = (sock, None)
        self._reactor.watch(sock.fileno(), self._hearing(sock.fileno()))

    def _hearing(self, fd: int) -> Callable[[], None]:
        return lambda: self._on_word(fd)

    def _on_word(self, fd: int) -> None:
        sock, subscriber = self._peers[fd]
        try:
            received = receive_word(sock)
        except BlockingIOError:
            return
        except (ValueError, OSError) as error:
            logger.warning("a reader is not understood: %s", error)
            received = None
        if received is None:
            self._drop(fd)
            return
        word, fds = received
        if isinstance(word, Subscribe) and subscriber is None:
            self._subscribe(fd, word, fds)
            return
        for extra in fds:
            os.close(extra)
        if isinstance(word, Drain) and subscriber is not None:
            with self._pool.lock:
                for group in self.route(subscriber.route).groups:
                    group.drain(subscriber)
        if isinstance(word, Leave) and subscriber is not None:
            self._detach(subscriber)
            with self._pool.lock:
                subscriber.leave()

    def _subscribe(self, fd: int, request: Subscribe, fds: list[int]) -> None:
        sock = self._peers[fd][0]
        try:
            subscriber = Subscriber(sock, request, fds, self._pool.allocator)
        except (ValueError, OSError) as error:
            logger.warning("a reader of %s cannot be served: %s", request.route[:200], error)
            for extra in fds:
                os.close(extra)
            self._drop(fd)
            return
        self._peers[fd] = (sock, subscriber)
        if peer_of(sock)[0] == os.getpid():
            subscriber.mark_ours()
        arena = self._pool.arena.open_for_reading()
        try:
            # Before the first record, so that the reader always has it in time.
            send_word(sock, self._welcome, [arena])
        except OSError:
            self._drop(fd)
            return
        finally:
            os.close(arena)
        with self._pool.lock:
            route = self.route(request.route)
            route.add(subscriber)
            self._pool.subscribers.append(subscriber)
            if route.finished:
                subscriber.close_route(0)
        self._tell()
        if subscriber.group:
            self._pump(subscriber.route)

    def _pump(self, name: str) -> None:
        """Until nothing waits for a replica any more: nobody tells when one takes something."""
        with self._pool.lock:
            groups = self.route(name).groups
            for group in groups:
                group.pump()
            waiting = any(group.waiting for group in groups)
        if waiting and name not in self._pumping:
            self._pumping.add(name)
            self._reactor.later(_SOON, lambda: self._pump_again(name))

    def _pump_again(self, name: str) -> None:
        self._pumping.discard(name)
        self._pump(name)

    def pump(self, name: str) -> None:
        """Something waits for a replica. From any thread."""
        self._reactor.call(lambda: self._pump(name))

    def _detach(self, subscriber: Subscriber) -> None:
        with self._pool.lock:
            route = self.route(subscriber.route)
            route.remove(subscriber)
            if subscriber in self._pool.subscribers:
                self._pool.subscribers.remove(subscriber)
        self._tell()
        if subscriber.group:
            self._pump(subscriber.route)

    def _drop(self, fd: int) -> None:
        """The process is gone, or let go of everything."""
        sock, subscriber = self._peers.pop(fd)
        self._reactor.forget(fd)
        if subscriber is not None:
            self._detach(subscriber)
            with self._pool.lock:
                subscriber.gone()
        sock.close()

    def _tell(self) -> None:
        with self._waking:
            for wake in self._wakes:
                os.eventfd_write(wake, 1)


class Attendance:
    """Which nodes read our outputs, while this is open. `fileno` becomes readable on a change."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> Attendance:
        self._readers.watch_changes(self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.forget_changes(self._wake)
        os.close(self._wake)

    def fileno(self) -> int:
        return self._wake

    def subscriptions(self) -> Counter[tuple[str, str]]:
        """See `Readers.subscriptions`; call `present` first."""
        return self._readers.subscriptions()

    def present(self) -> frozenset[str]:
        """The nodes that are there now; makes `fileno` silent until the next change."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass  # nothing has changed
        return self._readers.present()
