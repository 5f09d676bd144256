"""What other threads of a runtime ask its main thread to do. Node (>= 3.10)."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class Mailbox:
    """`put` from any thread; `work` in the main thread, in the same order."""

    def __init__(self) -> None:
        self._waiting: deque[Work] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __repr__(self) -> str:
        return f"<Mailbox {len(self._waiting)} waiting>"

    def fileno(self) -> int:
        """Becomes readable each time that something is put in: to be watched for edges."""
        return self._wake

    def put(self, work: Work) -> None:
        """Does nothing once closed: who would do it has ended."""
        self._waiting.append(work)
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def wait(self) -> None:
        """Until something was put in."""
        select.select([self._wake], [], [])
        os.eventfd_read(self._wake)

    def work(self) -> bool:
        """Does what waits; whether there was anything."""
        if not self._waiting:
            return False
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
        return True

    def close(self) -> None:
        """May be called twice."""
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)
