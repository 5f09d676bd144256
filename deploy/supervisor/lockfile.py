"""One supervisor per root: the lock on `run`. Machine only; Python >= 3.8."""

from __future__ import annotations

import fcntl
import os
from typing import Optional

from deploy.supervisor.files import remove
from deploy.supervisor.layout import Layout, private


def try_lock(layout: Layout) -> Optional[int]:
    """A descriptor that holds the lock for as long as it is open; None when somebody else does.

    No unit inherits it. Raises OSError.
    """
    private(layout.run)
    lock = os.open(str(layout.lock), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(str(layout.lock))):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass  # held, or removed by one that left meanwhile
    os.close(lock)
    return None


def keep_folder(layout: Layout) -> int:
    """A descriptor that keeps `run` from being cleaned up for as long as it is open: it may be in
    /tmp, where systemd-tmpfiles removes what nobody has touched for days, but for folders that
    somebody has locked. Raises OSError."""
    folder = os.open(str(layout.run), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # it is being cleaned in this moment, and looked at again by nobody for a day
    return folder


def unlock(layout: Layout, lock: int) -> None:
    """Removes the file, and `run` when it is empty."""
    remove(layout.lock)
    try:
        os.rmdir(str(layout.run))
    except OSError:
        pass  # there is more in it
    os.close(lock)
