"""How a unit holds updates of its machine up. Runs in nodes (>= 3.10); standard library only.

With a shared lock (flock) on the file $DEPLOY_UPDATES: whoever is about to switch the machine wants
it exclusively. The kernel gives it back when the process dies, and it holds while no supervisor
runs. A note in $DEPLOY_HOLD tells people why: JSON, [{"reason", "since"}, ...].
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

UPDATES = "DEPLOY_UPDATES"
HOLD = "DEPLOY_HOLD"

_LOOK = 0.02  # seconds between attempts to get the lock

_noting = threading.Lock()
_held: dict[int, tuple[str, float]] = {}  # by file descriptor: reason, since


class Hold:
    """Updates are held up from its construction until `release`, or until the process ends."""

    def __init__(
        self,
        reason: str = "",
        timeout: float | None = None,
        stopping: Callable[[], bool] | None = None,
    ) -> None:
        """Waits while the machine is being switched, for `timeout` seconds at most (None: as long
        as it takes), or until `stopping()`. Raises TimeoutError, RuntimeError when this process is
        to leave, OSError. Outside of a supervised process there is nothing to wait for."""
        self.reason = reason
        self._process = os.getpid()
        path = os.environ.get(UPDATES)
        self._fd = -1 if path is None else _locked(path, timeout, stopping)
        if self._fd >= 0:
            _note(self._fd, (reason, time.time()))

    def __repr__(self) -> str:
        return f"<Hold {self.reason!r}, {'held' if self._fd >= 0 else 'released'}>"

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Updates may go on, for all that this Hold is concerned. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if os.getpid() == self._process:  # in a forked child there is a copy of its parent's
            _note(fd, None)
            fcntl.flock(fd, fcntl.LOCK_UN)  # whatever forked children have of it
        os.close(fd)


def _locked(path: str, timeout: float | None, stopping: Callable[[], bool] | None) -> int:
    """A descriptor that holds the lock as long as it is open."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            os.close(fd)
        except BaseException:
            os.close(fd)
            raise
        if stopping is not None and stopping():
            raise RuntimeError("this node is asked to stop: it cannot hold updates up any more")
        if end is not None and time.monotonic() >= end:
            raise TimeoutError("this machine is being switched to another generation")
        time.sleep(_LOOK)


def _note(fd: int, what: tuple[str, float] | None) -> None:
    """Tells people. A note that cannot be written is none: the lock is what counts."""
    path = os.environ.get(HOLD)
    with _noting:
        if what is None:
            _held.pop(fd, None)
        else:
            _held[fd] = what
        if path is None:
            return
        rows = [{"reason": reason, "since": since} for reason, since in _held.values()]
        try:
            if not rows:
                os.unlink(path)
                return
            aside = f"{path}.new"
            with open(aside, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                json.dump(rows, file)
            os.replace(aside, path)
        except OSError:
            return
