"""A consumer's connection to one process that produces, and the values it got. Node (>= 3.10)."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Any, NamedTuple

from dora.communication.shm.allocator import ALIGNMENT
from dora.communication.shm.arena import Chunk, ReadArena
from dora.communication.shm.forks import abandon_in_children
from dora.communication.shm.handshake import Leave, Welcome, Word, receive_word
from dora.communication.shm.table import Table
from dora.communication.shm.values import makers, read_schema, unpack
from dora.protocol.comeback import ALWAYS

logger = logging.getLogger("dora")


class Lease:
    """What must live as long as any value of the connection does, even after everything is closed:
    the release table, and the open socket by which the producer knows that we still look."""

    __slots__ = ("__weakref__", "_socket", "released", "table")

    def __init__(self, sock: socket.socket, table: Table) -> None:
        self._socket = sock
        self.table = table
        self.released: Any = table.released
        abandon_in_children(self)

    def __del__(self) -> None:
        self._socket.close()

    def hang_up(self) -> None:
        """The producer is gone, so nobody needs to know what we look at."""
        self._socket.close()

    def abandon(self) -> None:
        """A child has copies of our regions: dropping them must release nothing."""
        self.released = _Nowhere()
        self._socket.close()


class Place(NamedTuple):
    """Where a value lies, and to whom that is told when nobody needs it any more."""

    lease: Lease
    slot: int
    generation: int
    chunk: Chunk
    start: int
    length: int


class Region(Place):
    """A value in shared memory. The producer gets its place back when the region is gone: pyarrow
    keeps it alive as the base of every array, slice and view that is made of it.

    A tuple, because such a one is made without a function in Python: see `shortcut`."""

    __slots__ = ()

    def __del__(self) -> None:
        # In any thread, and inside of the garbage collector: no lock, just one store. The lease is
        # the connection's own: after a reconnect it must not write into the next one's table.
        self.lease.released[self.slot] = self.generation

    def buffer(self) -> Any:
        """A pyarrow buffer over it."""
        import pyarrow

        return pyarrow.foreign_buffer(self.chunk.address + self.start, self.length, base=self)


class Connection:
    """`epoch` is what the producer writes into its records."""

    def __init__(self, epoch: int, sock: socket.socket, table: Table) -> None:
        self.epoch = epoch
        self.socket = sock
        self.lease = Lease(sock, table)
        self.arena: ReadArena | None = None
        self.chunks: dict[int, Chunk] = {}  # by their first page
        self.process = ""  # the producer's identity
        self.returns = ALWAYS  # whether it comes back, see `protocol.comeback`
        self.parting: Leave | None = None  # what the producer said when it left
        self._schemas: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Connection {self.epoch}, {'open' if self.arena else 'waiting'}>"

    def hear(self) -> bool:
        """Takes one word of the producer, if one waits. False when the producer is gone."""
        with self._lock:
            try:
                received = receive_word(self.socket)
                if received is None:
                    return False
                self._heed(*received)
            except BlockingIOError:
                return True
            except (ValueError, OSError) as error:
                logger.warning("what a producer says is not understood: %s", error)
                return False
            return True

    def map(self, first: int, pages: int) -> Chunk:
        """A chunk that is not yet in `chunks`. Raises ValueError if the arena has none such."""
        return self._arena().map(first, pages)

    def schema(self, form: int) -> Any:
        """Raises ValueError if the producer wrote none there."""
        schema = self._schemas.get(form)
        if schema is None:
            schema = read_schema(self._arena().read, form * ALIGNMENT)
            self._schemas[form] = schema
        return schema

    def _arena(self) -> ReadArena:
        if self.arena is None:
            self.hear()  # it was sent before the first record, but nobody has looked yet
        if self.arena is None:
            raise ValueError("a record came before the arena")
        return self.arena

    def _heed(self, word: Word, fds: list[int]) -> None:
        if isinstance(word, Welcome) and self.arena is None:
            self.arena = ReadArena(fds[0])
            self.chunks = self.arena.chunks
            self.returns, self.process = word.returns, word.process
            return
        for fd in fds:
            os.close(fd)
        if isinstance(word, Leave):
            self.parting = word


def read_value(form: int, place: Region | bytes, connection: Connection) -> Any:
    """The Arrow array. `place` is a Region, or bytes that were copied out, of a length that was
    checked. Raises ValueError for what no producer can have packed."""
    maker = makers.get(form)
    if maker is None:
        buffer = place if isinstance(place, bytes) else place.buffer()
        return unpack(form, buffer, connection.schema)
    # The short way, for plain elements: no function but pyarrow's own.
    from_buffers, foreign_buffer, py_buffer, kind, width = maker
    if isinstance(place, bytes):
        return from_buffers(kind, len(place) // width, [None, py_buffer(place)], 0)
    length = place.length
    buffer = foreign_buffer(place.chunk.address + place.start, length, place)
    return from_buffers(kind, length // width, [None, buffer], 0)


class _Nowhere:
    """Takes what a forked child would release."""

    def __setitem__(self, slot: int, generation: int) -> None:
        return
