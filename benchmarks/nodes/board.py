"""What one receiver has got, where the sender sees it: a ring in shared memory.

Both sides look at it without waking each other, and noting a message costs the receiver little.
Messages are tagged: which way they were sent, and which number of which series they are.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

RING = 1 << 18  # arrivals that are kept
_COUNT, _PID = 0, 1
_FRONT = 8  # words
SIZE = (_FRONT + 2 * RING) * 8

_WORD = struct.Struct("<q")


def tag(series: int, number: int) -> int:
    """Fits into the first 8 bytes of a message. Series are numbered from 1."""
    return series << 32 | number


def tag_of(value: Any) -> int:
    """Of an Arrow array of bytes."""
    found: int = _WORD.unpack_from(value.buffers()[1], value.offset)[0]
    return found


class Board:
    """`path` names a file of `SIZE` bytes. Only the receiver calls `enter` and `note`."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR)
        try:
            self._words = memoryview(mmap.mmap(fd, SIZE)).cast("q")
        finally:
            os.close(fd)

    def enter(self) -> None:
        self._words[_PID] = os.getpid()

    @property
    def pid(self) -> int:
        """0 until the receiver runs."""
        return self._words[_PID]

    @property
    def count(self) -> int:
        """Messages so far."""
        return self._words[_COUNT]

    def note(self, tag: int, now: int) -> None:
        """A message was in the program's hands at `now` (ns, monotonic)."""
        words = self._words
        count = words[_COUNT]
        place = _FRONT + 2 * (count % RING)
        words[place] = tag
        words[place + 1] = now
        words[_COUNT] = count + 1

    def since(self, count: int) -> list[tuple[int, int]]:
        """Tag and time of every message after the first `count`, as far as the ring reaches."""
        end = self.count
        found = []
        for number in range(max(count, end - RING), end):
            place = _FRONT + 2 * (number % RING)
            found.append((self._words[place], self._words[place + 1]))
        return found

    def find(self, tag: int, count: int) -> int | None:
        """When this message came, if it did after the first `count`."""
        return next((time for found, time in self.since(count) if found == tag), None)


def create_board() -> tuple[int, str]:
    """A memory file and the path by which other processes of this user open it."""
    fd = os.memfd_create("board", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    return fd, f"/proc/{os.getpid()}/fd/{fd}"
