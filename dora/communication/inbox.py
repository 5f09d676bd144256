"""A subscription's bounded queue between a layer's thread and the receiver's. Node (>= 3.10)."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dora.communication.base import Kind

T = TypeVar("T")

DROP_OLDEST = "drop_oldest"
BACKPRESSURE = "backpressure"


def capacity(queue_size: int, queue_policy: str) -> int:
    """How many messages a queue really holds.

    A queue of size 0 acts as one of size 1. `backpressure` does not reach the sender where the
    layer cannot block it: the queue is made ten times as large, at least 100, as dora does.
    Raises ValueError for an unknown policy.
    """
    if queue_policy == DROP_OLDEST:
        return max(queue_size, 1)
    if queue_policy == BACKPRESSURE:
        return max(queue_size * 10, 100)
    raise ValueError(f"unknown queue policy {queue_policy!r}")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    item: T
    kind: Kind
    precious: bool


class Inbox(Generic[T]):
    """`put` from any thread, `take` from any thread; neither waits.

    `fileno` is an eventfd that is readable exactly while something waits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[_Entry[T]] = deque()
        self._data = 0  # entries that count against the limit
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __repr__(self) -> str:
        return f"<Inbox {self._data} of {self._limit} waiting, {self._dropped} dropped>"

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def waiting(self) -> int:
        """Messages that count against the limit."""
        return self._data

    def fileno(self) -> int:
        return self._wake

    def put(
        self, item: T, kind: Kind = Kind.DATA, *, flush: bool = False, precious: bool = False
    ) -> None:
        """Adds a message; a full queue loses its oldest that is not precious, and counts it.

        `flush` first throws away (uncounted: it was asked for) all that is not precious. Of
        several of a kind that is not DATA only the last is kept, so that they take no room without
        bound.
        """
        with self._lock:
            if self._wake < 0:
                return
            was_empty = not self._entries
            if flush:
                self._keep(lambda entry: entry.precious or entry.kind is not Kind.DATA)
            if kind is not Kind.DATA:
                self._keep(lambda entry: entry.kind is not kind)
            elif self._data >= self._limit:
                self._drop_one()
            self._entries.append(_Entry(item, kind, precious))
            self._data += kind is Kind.DATA
            if was_empty:
                os.eventfd_write(self._wake, 1)

    def take(self) -> T | None:
        with self._lock:
            if not self._entries:
                return None
            entry = self._entries.popleft()
            self._data -= entry.kind is Kind.DATA
            if not self._entries:
                os.eventfd_read(self._wake)
            return entry.item

    def close(self) -> None:
        """Throws away what waits and takes no more. May be called twice."""
        with self._lock:
            wake, self._wake = self._wake, -1
            self._entries.clear()
            self._data = 0
        if wake >= 0:
            os.close(wake)

    def _keep(self, wanted: Callable[[_Entry[T]], bool]) -> None:
        if self._entries:
            self._entries = deque(entry for entry in self._entries if wanted(entry))
            self._data = sum(entry.kind is Kind.DATA for entry in self._entries)

    def _drop_one(self) -> None:
        self._data -= 1
        self._dropped += 1
        oldest = self._entries[0]
        if oldest.kind is Kind.DATA and not oldest.precious:
            self._entries.popleft()
            return
        victims = [i for i, entry in enumerate(self._entries) if entry.kind is Kind.DATA]
        del self._entries[next((i for i in victims if not self._entries[i].precious), victims[0])]
