"""Subscriptions on their way to the thread that asks for events. Node (>= 3.10)."""

from __future__ import annotations

import os
import threading
from collections import deque

from dora.communication.base import Subscription


class Handover:
    """`offer` from any thread; `fileno` is readable as long as something waits to be taken."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Subscription]] = deque()  # with the input's name
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __repr__(self) -> str:
        return f"<Handover of {[name for name, _ in self._waiting]}>"

    def fileno(self) -> int:
        return self._wake

    def offer(self, name: str, subscription: Subscription) -> None:
        """Nobody takes it any more after `close`: it belongs to its layer."""
        with self._lock:
            if self._wake >= 0:
                self._waiting.append((name, subscription))
                os.eventfd_write(self._wake, 1)

    def waiting(self) -> list[tuple[str, Subscription]]:
        """In order; they wait until `taken`, and `fileno` is silent until the next comes."""
        with self._lock:
            os.eventfd_read(self._wake)
            return list(self._waiting)

    def taken(self) -> None:
        """The first one is where it belongs."""
        self._waiting.popleft()

    @property
    def under_way(self) -> bool:
        return bool(self._waiting)

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._waiting.clear()
            wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)
