"""The layer's one thread: sleeps until somebody comes, goes, or a time is due. Node (>= 3.10).

No message passes through it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("dora")

_JOIN = 2.0  # s


class Reactor:
    """`call` may be used from any thread; `watch`, `forget` and `later` only in its own, or while
    it does not run."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._watched: dict[int, Callable[[], None]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._times: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._starting = threading.Lock()

    def call(self, function: Callable[[], None]) -> None:
        """Has `function` run in the thread, soon. After `stop` it never runs."""
        self._calls.append(function)
        with self._starting:
            if self._stopping:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dora-shm", daemon=True)
                self._thread.start()
            os.eventfd_write(self._wake, 1)

    def watch(self, fd: int, readable: Callable[[], None]) -> None:
        self._watched[fd] = readable
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Before `fd` is closed. Unknown ones are fine."""
        if self._watched.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._times, (time.monotonic() + seconds, next(self._count), function))

    def stop(self) -> bool:
        """Nothing runs any more when this returns True. May be called twice."""
        with self._starting:
            if not self._stopping:
                self._stopping = True
                os.eventfd_write(self._wake, 1)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN)
            if self._thread.is_alive():
                logger.warning("the thread of the shared memory layer did not end")
                return False
        self.abandon()
        return True

    def abandon(self) -> None:
        """Gives back what belongs to this process alone, as in a forked child."""
        self._stopping = True
        if self._epoll.closed:
            return
        self._epoll.close()
        os.close(self._wake)
        self._calls.clear()
        self._times.clear()
        self._watched.clear()

    def _run(self) -> None:
        while not self._stopping:
            timeout = max(self._times[0][0] - time.monotonic(), 0.0) if self._times else None
            for fd, _ in self._epoll.poll(timeout):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                elif fd in self._watched:  # not forgotten since
                    self._guard(self._watched[fd])
            while self._calls and not self._stopping:
                self._guard(self._calls.popleft())
            while self._times and self._times[0][0] <= time.monotonic() and not self._stopping:
                self._guard(heapq.heappop(self._times)[2])

    def _guard(self, function: Callable[[], None]) -> None:
        """One peer's trouble must not end the connections to all others."""
        try:
            function()
        except Exception:
            logger.exception("shared memory layer")
