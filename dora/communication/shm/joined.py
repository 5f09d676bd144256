"""What all replicas of a node send, as one subscription. Node (>= 3.10).

Each replica has a subscription of its own below. What waits is given by the time at which it was
sent, so that of two replicas which worked on one key after the other, the earlier comes first.
"""

from __future__ import annotations

import os
import re
import select
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from dora.communication.base import Kind, Message
from dora.communication.shm.address import SUFFIX
from dora.communication.shm.subscription import ShmSubscription

LOOK = 0.1  # s until it is looked again which replicas there are
_PARTING = 20  # looks for which one that is gone is kept: what it sent may still wait


def replicas_in(folder: str, node: str) -> dict[str, int]:
    """The replicas of `node` that have a socket in `folder`: name -> index."""
    pattern = re.compile(rf"({re.escape(node)}\.([1-9][0-9]*)){re.escape(SUFFIX)}\Z")
    try:
        names = os.listdir(Path(folder))
    except FileNotFoundError:
        return {}
    found = (match for name in names if (match := pattern.match(name)))
    return {match[1]: int(match[2]) for match in found}


class _Child:
    def __init__(self, replica: int, subscription: ShmSubscription) -> None:
        self.replica = replica
        self.subscription = subscription
        self.head: Message | None = None
        self.closed = False  # the replica said that it has ended
        self.absent = 0  # looks


class JoinedSubscription:
    """`subscribe` makes the subscription of one replica, `replicas` tells which there are; `look`
    is to be called now and then, from one thread."""

    def __init__(
        self,
        subscribe: Callable[[str], ShmSubscription],
        replicas: Callable[[], dict[str, int]],
    ) -> None:
        self._subscribe = subscribe
        self._replicas = replicas
        self._children: dict[str, _Child] = {}
        self._by_fd: dict[int, _Child] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # heads wait
        self._epoll.register(self._wake, select.EPOLLIN)
        self._awake = False
        self._lock = threading.RLock()
        self._lost = 0  # of replicas that are gone
        self._draining = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<JoinedSubscription of {sorted(self._children)}>"

    @property
    def dropped(self) -> int:
        with self._lock:
            return self._lost + sum(it.subscription.dropped for it in self._children.values())

    def fileno(self) -> int:
        return self._epoll.fileno()

    def receive(self) -> Message | None:
        """The metadata of each message has the index of its `replica`, from 1."""
        with self._lock:
            while not self._closed:
                for fd, _ in self._epoll.poll(0):
                    child = self._by_fd.get(fd)
                    if child is not None and child.head is None:
                        child.head = child.subscription.receive()
                found = [it for it in self._children.values() if it.head is not None]
                self._show(len(found) > 1)
                if not found:
                    return None
                child = min(found, key=_time)
                message, child.head = child.head, None
                assert message is not None
                if message.kind is Kind.CLOSED:
                    child.closed = True
                    if not self._all_closed():
                        continue
                elif message.kind is Kind.DATA:
                    child.closed = False
                    message.metadata["replica"] = child.replica
                return message
        return None

    def look(self) -> bool:
        """Which replicas there are now. False when this is closed."""
        with self._lock:
            if self._closed:
                return False
            there = self._replicas()
            for name, replica in there.items():
                if name not in self._children and not self._draining:
                    self._add(name, replica)
            for name, child in list(self._children.items()):
                child.absent = 0 if name in there else child.absent + 1
                if child.absent > _PARTING and child.head is None and child.subscription.idle:
                    self._remove(name, child)
            return True

    @property
    def waiting(self) -> int:
        with self._lock:
            return sum(it.subscription.waiting + bool(it.head) for it in self._each())

    def done(self) -> None:
        """As `ShmSubscription.done`."""
        with self._lock:
            for child in self._children.values():
                if child.head is None:
                    child.subscription.done()

    def drain(self) -> None:
        with self._lock:
            self._draining = True
            for child in self._children.values():
                child.subscription.drain()

    @property
    def drained(self) -> bool:
        with self._lock:
            return all(it.subscription.drained and it.head is None for it in self._each())

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for child in self._children.values():
                child.subscription.close()
            self._by_fd.clear()
            self._epoll.close()
            os.close(self._wake)

    def _each(self) -> Iterable[_Child]:
        return self._children.values()

    def _add(self, name: str, replica: int) -> None:
        subscription = self._subscribe(name)
        child = self._children[name] = _Child(replica, subscription)
        self._by_fd[subscription.fileno()] = child
        self._epoll.register(subscription.fileno(), select.EPOLLIN)

    def _remove(self, name: str, child: _Child) -> None:
        fd = child.subscription.fileno()
        self._epoll.unregister(fd)
        del self._by_fd[fd], self._children[name]
        self._lost += child.subscription.dropped
        child.subscription.close()

    def _all_closed(self) -> bool:
        return all(it.closed for it in self._children.values() if not it.absent)

    def _show(self, waiting: bool) -> None:
        """Makes `fileno` readable as long as a head waits."""
        if waiting == self._awake:
            return
        self._awake = waiting
        if waiting:
            os.eventfd_write(self._wake, 1)
        else:
            os.eventfd_read(self._wake)


def _time(child: _Child) -> int:
    assert child.head is not None
    return child.head.timestamp
