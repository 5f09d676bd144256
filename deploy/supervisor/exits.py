"""Tells when a process ends, child or not. Machine only; Python >= 3.8.

By pidfd where kernel and Python have it (5.3 and 3.9), by looking every 50 ms otherwise. Never by
SIGCHLD or `waitpid(-1)`: in the foreground, other parts of the process have children of their own.
"""

from __future__ import annotations

import asyncio
import os
from typing import Callable, Dict, Optional

from deploy.supervisor.proc import alive

POLL = 0.05  # seconds

OnExit = Callable[[int, int], None]


class Exits:
    """Calls `on_exit(pid, start)` once for each process added: it has ended, unreaped if ours."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_exit: OnExit,
        *,
        pidfd_open: Optional[Callable[[int], int]] = getattr(os, "pidfd_open", None),
    ) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._pidfd_open = pidfd_open
        self._pidfds: Dict[int, int] = {}
        self._polled: Dict[int, int] = {}
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, pid: int, start: int) -> None:
        pidfd = self._open(pid)
        if not alive(pid, start):
            # ended, maybe its number is another's already; checked after the pidfd was opened, so
            # that it cannot be the other's
            if pidfd is not None:
                os.close(pidfd)
            self._loop.call_soon(self._on_exit, pid, start)
        elif pidfd is not None:
            self._pidfds[pid] = pidfd
            self._loop.add_reader(pidfd, self._ended, pid, start)
        else:
            self._polled[pid] = start
            if self._timer is None:
                self._timer = self._loop.call_later(POLL, self._poll)

    def close(self) -> None:
        for pidfd in self._pidfds.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()
        self._polled.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _open(self, pid: int) -> Optional[int]:
        if self._pidfd_open is None:
            return None
        try:
            return self._pidfd_open(pid)
        except OSError:  # no such process, an old kernel, a sandbox, no descriptor left
            return None

    def _ended(self, pid: int, start: int) -> None:
        pidfd = self._pidfds.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._on_exit(pid, start)

    def _poll(self) -> None:
        self._timer = None
        gone = [item for item in self._polled.items() if not alive(*item)]
        for pid, start in gone:
            del self._polled[pid]
            self._on_exit(pid, start)
        if self._polled and self._timer is None:
            self._timer = self._loop.call_later(POLL, self._poll)
