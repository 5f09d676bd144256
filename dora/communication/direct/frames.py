"""Messages one behind the other on a stream: length of the header, of the payload, both. Node.

Little endian, 4 and 8 bytes; the header is that of `header`. Small messages are read together, a
large payload goes straight to where it stays. Without I/O of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

PREFIX = struct.Struct("<IQ")
LONGEST_HEADER = 1 << 30  # bytes: the metadata is in it, of whatever length somebody sends
LONGEST_PAYLOAD = 1 << 34

_ROOM = 64 * 1024  # bytes that are read at once
_LARGE = 32 * 1024  # from here on a payload is not copied


class Frame(NamedTuple):
    header: bytes
    payload: Any  # bytes, or a pyarrow Buffer


def head(header: bytes, nbytes: int) -> bytes:
    """What stands before a payload of that size."""
    return PREFIX.pack(len(header), nbytes) + header


class Frames:
    """`read(buffer)` gives how many bytes it put there, 0 at the end, and raises BlockingIOError if
    there are none yet; what else it raises comes through."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        self._read = read
        self._room = memoryview(bytearray(_ROOM))
        self._begin = self._end = 0
        self._large: tuple[bytes, Any, memoryview] | None = None  # header, buffer, what is missing
        self._hung_up = False
        self.taken = 0  # bytes so far

    def __repr__(self) -> str:
        return f"<Frames, {self.taken} bytes read>"

    def next(self) -> Frame | None:
        """None if no whole message is there yet. Raises EOFError at the end, and ValueError for
        what no sender of ours can have written."""
        while True:
            found = self._fill_large() if self._large is not None else self._cut()
            if found is not None:
                return found
            view = self._space() if self._large is None else self._large[2]
            try:
                count = 0 if self._hung_up else self._read(view)
            except BlockingIOError:
                return None
            if count == 0:
                raise EOFError("the sender has hung up")
            self.taken += count
            if self._large is not None:
                self._large = (*self._large[:2], view[count:])
            else:
                self._end += count

    def alone(self) -> Frame | None:
        """A message, if all of it and nothing else comes with one read; else what came is kept for
        `next`. As much as one function can do: after a pause each further one costs a message as
        much as a system call."""
        if self._begin != self._end or self._large is not None:
            return None
        room = self._room
        try:
            count = self._read(room)
        except BlockingIOError:
            return None
        self.taken += count
        self._hung_up = count == 0
        self._begin, self._end = 0, count
        if count < PREFIX.size:
            return None
        length, size = PREFIX.unpack_from(room)
        length += PREFIX.size
        if count != length + size:
            return None
        self._end = 0
        return Frame(bytes(room[PREFIX.size : length]), bytes(room[length:count]))

    def _fill_large(self) -> Frame | None:
        assert self._large is not None
        header, buffer, missing = self._large
        if len(missing):
            return None
        self._large = None
        return Frame(header, buffer)

    def _cut(self) -> Frame | None:
        """The next message of what was read; a large one is begun."""
        begin, there = self._begin, self._end - self._begin
        if there < PREFIX.size:
            return None
        length, size = PREFIX.unpack_from(self._room, begin)
        if length > LONGEST_HEADER or size > LONGEST_PAYLOAD:
            raise ValueError(f"a message with {length} bytes of header and {size} of payload")
        begin += PREFIX.size
        there -= PREFIX.size
        if there < length or (there < length + size and size < _LARGE):
            return None
        header = bytes(self._room[begin : begin + length])
        begin += length
        if there >= length + size:
            self._begin = begin + size
            return Frame(header, bytes(self._room[begin : begin + size]))
        buffer = _memory(size)
        missing = memoryview(buffer).cast("B")
        got = self._end - begin
        missing[:got] = self._room[begin : self._end]
        self._large = header, buffer, missing[got:]
        self._begin = self._end = 0
        return None

    def _space(self) -> memoryview:
        """Where to read further: behind what is there, which is moved to the front first."""
        there = self._end - self._begin
        if self._begin:
            self._room[:there] = bytes(self._room[self._begin : self._end])
            self._begin, self._end = 0, there
        if not there and len(self._room) > _ROOM:  # there was much metadata
            self._room = memoryview(bytearray(_ROOM))
        if there == len(self._room):  # much metadata
            larger = memoryview(bytearray(2 * there))
            larger[:there] = self._room
            self._room = larger
        return self._room[self._end :]


def _memory(size: int) -> Any:
    """From Arrow's pool, which keeps memory warm; untouched until it is written."""
    import pyarrow

    try:
        return pyarrow.allocate_buffer(size)
    except MemoryError as error:
        raise ValueError(f"no memory for a message of {size} bytes: {error}") from error
