"""What the supervisor does for units' log files: rotation, times, disk ahead. Machine only.

Units append to their files themselves. Beside each lies an index of `<epoch> <size>` lines, one for
each second in which it grew: so that a line has a time although programs need not print one.
Python >= 3.8.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from pathlib import Path
from typing import Callable, Dict, List, Optional

from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout, private
from deploy.unit import Unit

log = logging.getLogger(__name__)

LIMIT = 10 * 1024 * 1024  # bytes of one file
ROOM = 256 * 1024  # bytes of disk that a running unit's log has ahead of it
_KEEP_SIZE = 1  # of fallocate(2)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def times(path: Path) -> Path:
    """The index of a log, or of a rotated one."""
    return path.with_name(path.name + ".times")


def previous(path: Path, number: int = 1) -> Path:
    return path.with_name(f"{path.name}.{number}")


def rotated(path: Path) -> List[Path]:
    """Those that are there, the newest first."""
    found: List[Path] = []
    while previous(path, len(found) + 1).exists():
        found.append(previous(path, len(found) + 1))
    return found


def rotate(path: Path, limit: int = LIMIT, keep: int = 1) -> None:
    """Puts a log that has grown over the limit aside. Only while no process writes to it."""
    if _size(path) > limit:
        _shift(path, keep)
        if keep:
            os.replace(str(path), str(previous(path)))
        else:
            _remove(path)


def shrink(path: Path, limit: int = LIMIT, keep: int = 1) -> bool:
    """Rotates a log that a process is appending to: copies it and empties it.

    A line written within the microseconds between the two may be lost. What does not fit on the
    disk any more is lost, too: the unit is to go on.
    """
    if _size(path) <= limit:
        return False
    aside = path.with_name(path.name + ".1.tmp")
    copied = keep > 0
    try:
        if copied:
            _copy(path, aside)
    except OSError as error:
        _remove(aside)
        if error.errno not in _FULL:
            raise
        log.error("%s is emptied: the disk is too full to keep a copy", path)
        copied = False
    os.truncate(str(path), 0)
    if copied:
        _shift(path, keep)
        os.replace(str(aside), str(previous(path)))
    elif not keep:
        _shift(path, keep)
    else:
        _remove(times(path))
    return True


class LogKeeper:
    """`reserve(descriptor, begin, count)` makes sure of disk ahead; OSError if there is none."""

    def __init__(
        self, layout: Layout, *, reserve: Optional[Callable[[int, int, int], None]] = None
    ) -> None:
        self._layout = layout
        self._reserve = reserve or reserve_disk
        self._reserved: Dict[Key, int] = {}
        self._sizes: Dict[Key, int] = {}
        self._complained: Dict[Key, str] = {}

    def open(self, key: Key, unit: Unit) -> int:
        """Where a new process of the unit is to write. If there is no room for that, to nowhere:
        a program whose output fails may end for it. Raises OSError for other reasons."""
        path = self._layout.log(*key)
        try:
            private(path.parent)
            rotate(path, unit.log_size or LIMIT, unit.log_files)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            output = os.open(str(path), flags, 0o600)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            log.error("%s runs without a log: the disk is full", key)
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._sizes.setdefault(key, _size(path))
        if self._make_room(key, path, output):
            return output
        try:
            os.write(output, b"(the disk is full: what follows of this process is lost)\n")
        except OSError:
            log.error("%s runs without a log: the disk is full", key)
        os.close(output)
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def tend(self, key: Key, unit: Unit, wall: float) -> None:
        """About once a second while the unit runs; `wall` is the machine's time. Errors are told
        once in its own log, as nothing better can be done about them."""
        path = self._layout.log(*key)
        try:
            self._note(key, path, _size(path), wall)
            if shrink(path, unit.log_size or LIMIT, unit.log_files):
                self._sizes[key] = self._reserved[key] = 0
        except OSError as error:
            self._complain(key, error)
        else:
            self._complained.pop(key, None)
        if path.exists() and _size(path) + ROOM > self._reserved.get(key, 0):
            try:
                output = os.open(str(path), os.O_WRONLY | os.O_CLOEXEC)
            except OSError as error:
                self._complain(key, error)
                return
            try:
                self._make_room(key, path, output)
            finally:
                os.close(output)

    def finish(self, key: Key, wall: float) -> None:
        """The unit has no process any more: what it had ahead on the disk is given back."""
        path = self._layout.log(*key)
        try:
            size = _size(path)
            self._note(key, path, size, wall)
            if self._reserved.pop(key, None) is not None and size:
                os.truncate(str(path), size)
        except OSError as error:
            self._complain(key, error)

    def _note(self, key: Key, path: Path, size: int, wall: float) -> None:
        if size != self._sizes.get(key, 0):
            self._sizes[key] = size
            with times(path).open("a") as index:
                index.write(f"{wall:.2f} {size}\n")

    def _make_room(self, key: Key, path: Path, output: int) -> bool:
        """Whether what the unit prints next has a place. On a full disk its own old lines make way,
        the oldest first. Where a filesystem cannot tell, we hope."""
        ways = [*reversed(rotated(path)), path]
        while True:
            size = os.fstat(output).st_size
            try:
                self._reserve(output, size, ROOM)
            except OSError as error:
                if error.errno in _FULL:
                    if ways:
                        self._empty(key, ways.pop(0), path, output)
                        continue
                    self._reserved[key] = 0  # tried again
                    self._complain(key, error)
                    return False
            self._reserved[key] = size + ROOM
            return True

    def _empty(self, key: Key, old: Path, path: Path, output: int) -> None:
        if old == path:
            os.ftruncate(output, 0)
            self._sizes[key] = 0
        else:
            _remove(old)
        _remove(times(old))
        log.warning("%s: old lines of its log made way: the disk is full", key)

    def _complain(self, key: Key, error: OSError) -> None:
        if self._complained.get(key) != str(error):
            self._complained[key] = str(error)
            log.error("the log of %s: %s", key, error)


def reserve_disk(descriptor: int, begin: int, count: int) -> None:
    """Bytes behind the end of a file that a later write cannot lack; its size stays. Raises
    OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if call is None:
        raise OSError(errno.ENOTSUP, "this system cannot reserve disk")
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(descriptor, _KEEP_SIZE, begin, count) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _shift(path: Path, keep: int) -> None:
    """Makes way for a new first one, and moves the current index to it."""
    for number in range(len(rotated(path)), 0, -1):
        old = previous(path, number)
        for each in (old, times(old)):
            if number >= keep:
                _remove(each)
            elif each.exists():
                target = previous(path, number + 1)
                os.replace(str(each), str(target if each is old else times(target)))
    if keep and times(path).exists():
        os.replace(str(times(path)), str(times(previous(path))))
    else:
        _remove(times(path))


def _copy(path: Path, target: Path) -> None:
    with path.open("rb") as source, target.open("wb") as copy:
        for block in iter(lambda: source.read(1024 * 1024), b""):
            copy.write(block)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
