"""What one receiver has got so far, where the sender sees it: a few words of shared memory.

Both sides look at it without waking each other. Messages are tagged: which track they belong to
(a way of sending), which series of that track, and which number within the series.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

TRACKS = 8
TIMES = 1 << 14  # arrival times that a track keeps, by number

_SERIES, _COUNT, _DISORDER, _FIRST, _LAST = range(5)
_HEADER = 8
_TRACK = _HEADER + TIMES
_PID = 0
_FRONT = 8
SIZE = (_FRONT + TRACKS * _TRACK) * 8

_WORD = struct.Struct("<q")


def tag(series: int, track: int, number: int) -> int:
    """Fits into the first 8 bytes of a message."""
    return series << 32 | track << 28 | number


def tag_of(value: Any) -> int:
    """Of an Arrow array of bytes."""
    found: int = _WORD.unpack_from(value.buffers()[1], value.offset)[0]
    return found


class Board:
    """`path` names a file of `SIZE` zero bytes. Only the receiver calls `enter` and `note`."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR)
        try:
            self._words = memoryview(mmap.mmap(fd, SIZE)).cast("q")
        finally:
            os.close(fd)
        self._series = [0] * TRACKS
        self._count = [0] * TRACKS
        self._next = [0] * TRACKS

    def enter(self) -> None:
        self._words[_PID] = os.getpid()

    @property
    def pid(self) -> int:
        """0 until the receiver runs."""
        return self._words[_PID]

    def note(self, tag: int, now: int) -> None:
        """A message was in the program's hands at `now` (ns, monotonic)."""
        series, track, number = tag >> 32, tag >> 28 & 7, tag & 0xFFFFFFF
        words = self._words
        base = _FRONT + track * _TRACK
        if series != self._series[track]:
            if series < self._series[track]:
                return  # very late; counted as lost by then
            self._series[track] = series
            self._count[track] = self._next[track] = 0
            words[base + _DISORDER] = 0
            words[base + _COUNT] = 0
            words[base + _FIRST] = now
            words[base + _SERIES] = series
        if number < self._next[track]:
            words[base + _DISORDER] += 1
        self._next[track] = number + 1
        self._count[track] += 1
        words[base + _HEADER + number % TIMES] = now
        words[base + _LAST] = now
        words[base + _COUNT] = self._count[track]

    def count(self, series: int, track: int) -> int:
        """Messages of this series so far."""
        base = _FRONT + track * _TRACK
        return self._words[base + _COUNT] if self._words[base + _SERIES] == series else 0

    def disorder(self, track: int) -> int:
        """Messages of the current series that came after a later one."""
        return self._words[_FRONT + track * _TRACK + _DISORDER]

    def time(self, track: int, number: int) -> int:
        """When this message of the current series arrived; valid once it was counted."""
        return self._words[_FRONT + track * _TRACK + _HEADER + number % TIMES]

    def clear_time(self, track: int, number: int) -> None:
        self._words[_FRONT + track * _TRACK + _HEADER + number % TIMES] = 0

    def span(self, track: int) -> int:
        """Nanoseconds from the first to the last message of the current series."""
        base = _FRONT + track * _TRACK
        return self._words[base + _LAST] - self._words[base + _FIRST]


def create_board() -> tuple[int, str]:
    """A memory file and the path by which other processes of this user open it."""
    fd = os.memfd_create("board", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    return fd, f"/proc/{os.getpid()}/fd/{fd}"
