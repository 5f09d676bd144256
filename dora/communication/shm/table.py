"""Where a consumer says what it has released: 8 bytes for each slot of a producer. Node (>= 3.10).

The consumer makes and owns it, so the producer needs no word from a consumer that dies. A release
is one store; the producer looks when it needs room.
"""

from __future__ import annotations

import fcntl
import mmap
import os

SLOTS = 1 << 18  # more than any pool has; memory is only used where something was written

_DROPPED = 0  # the producer counts here what it drops
_TAKEN = 1  # number of the last message that a replica has taken
_FINISHED = 2  # and that it has done with
_HEADER = 8  # words in front of the slots
_BYTES = (_HEADER + SLOTS) * 8


class Table:
    """`released[slot]` is the generation that the consumer gave back last.

    `released` may be replaced: a forked child must not release what its parent looks at.
    """

    def __init__(self, fd: int) -> None:
        """Maps the table; `fd` stays the caller's. Raises ValueError if it is none, OSError."""
        check_sealed(fd)
        if os.fstat(fd).st_size != _BYTES:
            raise ValueError(f"a release table has {os.fstat(fd).st_size} bytes, not {_BYTES}")
        words = memoryview(mmap.mmap(fd, _BYTES)).cast("Q")
        self._words = words
        self.released = words[_HEADER:]

    @property
    def dropped(self) -> int:
        """How many messages the producer has thrown away for this consumer."""
        return self._words[_DROPPED]

    @dropped.setter
    def dropped(self, count: int) -> None:
        self._words[_DROPPED] = count

    @property
    def taken(self) -> int:
        return self._words[_TAKEN]

    @taken.setter
    def taken(self, number: int) -> None:
        self._words[_TAKEN] = number

    @property
    def finished(self) -> int:
        return self._words[_FINISHED]

    @finished.setter
    def finished(self, number: int) -> None:
        self._words[_FINISHED] = number


def create_table() -> int:
    """A file descriptor of an empty table."""
    fd = os.memfd_create("dora-released", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _BYTES)
    seal(fd)
    return fd


def seal(fd: int) -> None:
    """From now on the file cannot shrink: nobody can make another process die of SIGBUS."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def check_sealed(fd: int) -> None:
    """Raises ValueError for a file that could shrink under a mapping."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ValueError(f"no memory file: {error}") from error
    if not seals & fcntl.F_SEAL_SHRINK:
        raise ValueError("a memory file that could shrink")
