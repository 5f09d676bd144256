"""What all publishers of a process share: the arena, its allocator and the lock. Node (>= 3.10)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import NamedTuple, cast

from dora.communication.shm.allocator import ALIGNMENT, Allocator, Slot
from dora.communication.shm.arena import Arena, Chunk, populate
from dora.communication.shm.sender import Subscriber
from dora.communication.shm.table import SLOTS
from dora.communication.shm.values import Packer, schema_bytes

CHUNK = 64 << 20
LIMIT = 2 << 30  # unless the machine has less than four times that

PREPARED = 256 * 1024  # from this size on, fresh memory is prepared before it is needed
_FORMS = 1 << 32  # what a record has room for


class Patience(NamedTuple):
    """Whether a sender may still wait for room: `is_over` is asked when `fd` is readable."""

    fd: int
    is_over: Callable[[], bool]


class Pool:
    """`limit`: bytes of shared memory at most; None for a quarter of the machine's, at most 2 GiB.
    `later` has a function run in another thread.

    Whoever calls `allocate` holds `lock`.
    """

    def __init__(
        self, later: Callable[[Callable[[], None]], None], *, limit: int | None, chunk: int
    ) -> None:
        if limit is None:
            limit = min(LIMIT, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
        self.lock = threading.Lock()
        self.arena = Arena()
        self.allocator = Allocator(self.arena.extend, chunk=chunk, limit=limit, slots=SLOTS)
        self.packer = Packer(self._store_schema)
        self.subscribers: list[Subscriber] = []
        self.patience: Patience | None = None
        self._later = later
        self._prepared: dict[int, int] = {}  # chunk -> up to where its pages are there

    def __repr__(self) -> str:
        return f"<Pool: {self.allocator}, {len(self.subscribers)} subscribers>"

    def allocate(self, size: int) -> Slot | None:
        """A slot; if need be the oldest records that still wait are taken back for it.

        None if the consumers look at too much.
        """
        slot = self.allocator.allocate(size)
        if slot is None:
            slot = self._steal_for(size)
        if slot is not None and size >= PREPARED:
            self._prepare(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """Nobody writes to the slot any more; it is free when its holders are done with it."""
        with self.lock:
            self.allocator.post(slot)

    def _steal_for(self, size: int) -> Slot | None:
        willing = [s for s in self.subscribers if s.listening and not s.blocking]
        while willing:
            willing = [subscriber for subscriber in willing if subscriber.steal()]
            slot = self.allocator.allocate(size)
            if slot is not None:
                return slot
        return None

    def _prepare(self, slot: Slot) -> None:
        """Has as much memory prepared behind the highest slot as that one has."""
        end = slot.offset + slot.size
        done = self._prepared.get(slot.chunk.offset, 0)
        if end > done:
            self._prepared[slot.chunk.offset] = end + slot.size
            chunk, length = cast(Chunk, slot.chunk), slot.size
            self._later(lambda: populate(chunk, end, length))

    def _store_schema(self, text: bytes) -> int | None:
        """Puts a schema into the arena for good."""
        data = schema_bytes(text)
        with self.lock:
            slot = self.allocator.allocate(len(data))
            if slot is None:
                return None
            form = slot.offset // ALIGNMENT
            if form >= _FORMS:
                self.allocator.free(slot)
                return None
            chunk = cast(Chunk, slot.chunk)
            begin = slot.offset - chunk.offset
            chunk.map[begin : begin + len(data)] = data
            return form
