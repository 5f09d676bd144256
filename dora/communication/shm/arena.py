"""The memory that a producer's values lie in: one growing memfd for the process. Node (>= 3.10).

It has no name, so nothing stays behind a killed process, and no container's /dev/shm limits it.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
from functools import cached_property
from typing import Any

from dora.communication.shm.record import PAGE
from dora.communication.shm.table import check_sealed, seal

logger = logging.getLogger("dora")

RESERVED = 1 << 16  # bytes in front that no value lies in: records use low numbers otherwise

_MADV_POPULATE_WRITE = 23


class Chunk:
    """`length` bytes from `offset` of the arena, mapped here. Unmapped with its last reference."""

    __slots__ = ("__dict__", "first", "length", "map", "offset", "pages")

    def __init__(self, fd: int, offset: int, length: int, protection: int) -> None:
        self.offset = offset
        self.length = length
        self.first = offset // PAGE
        self.pages = length // PAGE
        self.map = mmap.mmap(fd, length, mmap.MAP_SHARED, protection, offset=offset)

    @cached_property
    def address(self) -> int:
        """Where it lies in this process."""
        import pyarrow

        return int(pyarrow.py_buffer(self.map).address)

    @cached_property
    def array(self) -> Any:
        """A numpy view of all of it."""
        import numpy

        return numpy.frombuffer(self.map, numpy.uint8)


class Arena:
    """The producer's side."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("dora", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        seal(self._fd)
        self._length = RESERVED

    def __repr__(self) -> str:
        return f"<Arena of {self._length >> 20} MiB>"

    def extend(self, length: int) -> Chunk:
        """Adds a chunk. Raises MemoryError if the process may have no more."""
        try:
            os.ftruncate(self._fd, self._length + length)
            chunk = Chunk(self._fd, self._length, length, mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, ValueError) as error:
            raise MemoryError(f"no {length} bytes more of shared memory: {error}") from error
        self._length += length
        return chunk

    def open_for_reading(self) -> int:
        """A file descriptor to hand out: its owner cannot write."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """What is mapped stays. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class ReadArena:
    """The consumer's side: maps chunks as records speak of them. Owns `fd`."""

    def __init__(self, fd: int) -> None:
        """Raises ValueError for anything that is not a producer's arena."""
        self._fd = fd
        check_sealed(fd)
        self.chunks: dict[int, Chunk] = {}

    def map(self, first: int, pages: int) -> Chunk:
        """The chunk of `pages` pages from page `first`. Raises ValueError if there is none."""
        offset, length = first * PAGE, pages * PAGE
        size = os.fstat(self._fd).st_size
        if not length or offset + length > size:
            raise ValueError(f"a chunk of {length} bytes at {offset} in an arena of {size}")
        if any(c.offset < offset + length and offset < c.offset + c.length for c in self._mapped()):
            raise ValueError(f"a chunk of {length} bytes at {offset} overlaps another one")
        try:
            chunk = self.chunks[first] = Chunk(self._fd, offset, length, mmap.PROT_READ)
        except OSError as error:
            raise ValueError(f"a chunk of {length} bytes cannot be mapped: {error}") from error
        return chunk

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that are needed once."""
        return os.pread(self._fd, length, offset)

    def __del__(self) -> None:
        os.close(self._fd)

    def _mapped(self) -> list[Chunk]:
        return list(self.chunks.values())


def populate(chunk: Chunk, offset: int, length: int) -> None:
    """Gives pages to a part of a chunk before they are written to; other threads run meanwhile.

    Writing to fresh pages takes ten times as long. Does nothing where the kernel cannot (< 5.14).
    """
    begin = (offset - chunk.offset) // PAGE * PAGE
    end = min(begin + length, chunk.length) // PAGE * PAGE
    if end <= begin:
        return
    anchor = ctypes.c_char.from_buffer(chunk.map)
    # mmap.madvise would hold the interpreter for all of it.
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if madvise(ctypes.addressof(anchor) + begin, end - begin, _MADV_POPULATE_WRITE):
        logger.debug("memory was not prepared: %s", os.strerror(ctypes.get_errno()))
