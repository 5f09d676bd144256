"""Making files survive a power cut, and folders that vanish with their maker. Python >= 3.8.

An object is durable before it gets its name, so that a name never stands for half a content. One
fsync per file costs one commit of the filesystem's journal each, which on the SD card of a robot is
tens of milliseconds; one syncfs for many files commits once. But syncfs also writes out what
everybody else has dirtied, so a few files are better off with an fsync each.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import stat
import tempfile
from types import TracebackType
from typing import Optional, Sequence, Type

FEW = 16  # as many fsyncs are cheaper than a syncfs that meets a camera's recording
PREFIX = ".incoming-"


def flush(paths: Sequence[str], folder: str) -> None:
    """Returns when the contents of `paths`, all on the filesystem of `folder`, are on the disk."""
    if len(paths) > FEW and _syncfs(folder):
        return
    for path in paths:
        flush_one(path)


def flush_one(path: str) -> None:
    """Returns when this file, or this folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(folder: str) -> bool:
    """False where the C library has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if call(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
    finally:
        os.close(descriptor)
    return True


class Scratch:
    """A folder of our own beside finished things, gone when we leave or at the next `sweep`.

    It is locked for as long as its maker lives, whatever kills that; a folder that can be locked by
    somebody else is therefore nobody's. It lies in the folder where its contents will be renamed
    to: a read-only folder cannot change its parent.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.path = ""
        self._lock = -1

    def __enter__(self) -> Scratch:
        while not self._take():
            pass  # a sweep took it between its making and its locking: make another
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        remove(self.path)
        os.close(self._lock)

    def _take(self) -> bool:
        self.path = tempfile.mkdtemp(prefix=PREFIX, dir=self._folder)
        try:
            self._lock = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(self.path), os.fstat(self._lock)):
                return True
        except (BlockingIOError, FileNotFoundError):
            pass  # the sweep's
        os.close(self._lock)
        return False


def sweep(folder: str) -> None:
    """Removes what makers that died left in `folder`."""
    for name in os.listdir(folder):
        if not name.startswith(PREFIX):
            continue
        path = os.path.join(folder, name)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # its maker finished
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        except BlockingIOError:
            pass  # at work
        finally:
            os.close(lock)


def remove(path: str) -> None:
    """Removes a tree, or a file, whether or not it is read-only; nothing there is fine."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o700)
    shutil.rmtree(path)
