"""Decides which part of the arena a message gets. Pure; runs in the producer (>= 3.10).

Slots come in size classes, four for each power of two. A slot that was sent is free again when all
who got it have released it, in whatever order: one value that is kept for hours costs one slot.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

ALIGNMENT = 64  # what Arrow wants, and a cache line

_LARGE = 64 * 1024  # a new slot of this size costs more (page faults) than a long search
_GLANCE = 8  # how many sent slots a search for a small one looks at


class Releases(Protocol):
    def __getitem__(self, slot: int, /) -> int:
        """The generation of the slot that was given back last."""


class Holder(Protocol):
    """Somebody who was sent slots. What it has is free once it is not `alive` any more."""

    @property
    def alive(self) -> bool: ...
    @property
    def released(self) -> Releases: ...


class Chunk(Protocol):
    """A contiguous part of the arena."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...


class Slot:
    """`size` bytes at `offset` of the arena, `start` of its chunk. `generation` is new each time
    it is allocated."""

    __slots__ = ("bucket", "chunk", "generation", "holders", "index", "offset", "size", "start")

    def __init__(self, index: int, chunk: Chunk, offset: int, bucket: Bucket) -> None:
        self.index = index
        self.chunk = chunk
        self.offset = offset
        self.start = offset - chunk.offset
        self.size = bucket.size
        self.bucket = bucket
        self.generation = 0
        self.holders: tuple[Holder, ...] = ()

    def __repr__(self) -> str:
        return f"<Slot {self.index}: {self.size} at {self.offset}, {len(self.holders)} holders>"

    def is_released(self) -> bool:
        """Whether nobody looks at it any more."""
        index, generation = self.index, self.generation
        for holder in self.holders:
            if holder.alive and holder.released[index] != generation:
                return False
        return True


@dataclass
class _Extent:
    """Memory that belongs to no slot."""

    chunk: Chunk
    offset: int
    length: int


class Bucket:
    """The slots of one size: those nobody has, and those that were sent (oldest first)."""

    __slots__ = ("free", "sent", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.free: list[Slot] = []
        self.sent: deque[Slot] = deque()


def size_class(size: int) -> int:
    """`size` rounded up: at most a quarter is wasted above 256 bytes."""
    if size <= 256:
        return max(-(-size // ALIGNMENT), 1) * ALIGNMENT
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step


class Allocator:
    """`extend(length)` makes the arena larger by a new chunk of exactly that length, or raises
    MemoryError. Never more than `limit` bytes in all, nor more than `slots` slots."""

    def __init__(
        self, extend: Callable[[int], Chunk], *, chunk: int, limit: int, slots: int
    ) -> None:
        self._extend = extend
        self._chunk = chunk
        self._limit = limit
        self._slot_limit = slots
        self._extents: list[_Extent] = []
        self._buckets: dict[int, Bucket] = {}
        self._unused: list[int] = []  # indices of slots that were dissolved
        self.slots: list[Slot | None] = []
        self.by_size: dict[int, Bucket] = {}  # of exact sizes asked for: saves the arithmetic
        self.generations = itertools.count(1)
        self.total = 0  # bytes of all chunks

    def __repr__(self) -> str:
        live = sum(slot is not None for slot in self.slots)
        return f"<Allocator with {live} slots in {self.total >> 20} MiB>"

    def allocate(self, size: int) -> Slot | None:
        """A slot of at least `size` bytes that nobody looks at; None if there is no room.

        It belongs to the caller until it is given to `post` or `free`.
        """
        bucket = self.by_size.get(size)
        if bucket is None:
            bucket = self._bucket(size)
        sent, free = bucket.sent, bucket.free
        # What was used last is still in the caches. Of a reader that keeps up that is the newest;
        # else it is what was just released, which the free list has on top: memory that a burst
        # took rests below.
        if sent and sent[-1].is_released():
            slot = sent.pop()
        else:
            for _ in range(min(_GLANCE, len(sent) - 1)):
                if not sent[0].is_released():
                    break
                free.append(sent.popleft())
            if free:
                slot = free.pop()
            else:
                found = self._reclaim(bucket) or self._carve(bucket) or self._scavenge(bucket)
                if found is None:
                    return None
                slot = found
        slot.generation = next(self.generations)
        slot.holders = ()
        return slot

    def post(self, slot: Slot) -> None:
        """The slot was sent to its holders."""
        slot.bucket.sent.append(slot)

    def free(self, slot: Slot) -> None:
        """Nobody got the slot."""
        slot.bucket.free.append(slot)

    def slot(self, index: int, generation: int) -> Slot | None:
        """The slot, unless it serves another message by now."""
        if not 0 <= index < len(self.slots):
            return None
        slot = self.slots[index]
        return slot if slot is not None and slot.generation == generation else None

    def _bucket(self, size: int) -> Bucket:
        rounded = size_class(size)
        bucket = self._buckets.get(rounded)
        if bucket is None:
            bucket = self._buckets[rounded] = Bucket(rounded)
        if len(self.by_size) >= 1024:
            self.by_size.clear()
        self.by_size[size] = bucket
        return bucket

    def _reclaim(self, bucket: Bucket) -> Slot | None:
        """One that was sent and given back, oldest first."""
        sent = bucket.sent
        looks = len(sent) if bucket.size >= _LARGE else min(len(sent), _GLANCE)
        for _ in range(looks):
            slot = sent.popleft()
            if slot.is_released():
                return slot
            sent.append(slot)  # the next search begins behind those that are kept for long
        return None

    def _carve(self, bucket: Bucket) -> Slot | None:
        """A new slot from memory that belongs to none."""
        size = bucket.size
        if len(self.slots) - len(self._unused) >= self._slot_limit:
            return None
        extent = next((e for e in self._extents if e.length >= size), None)
        if extent is None:
            length = -(-size // self._chunk) * self._chunk
            if self.total + length > self._limit:
                return None
            try:
                chunk = self._extend(length)
            except MemoryError:
                return None
            self.total += length
            extent = _Extent(chunk, chunk.offset, length)
            self._extents.append(extent)
        index = self._unused.pop() if self._unused else len(self.slots)
        slot = Slot(index, extent.chunk, extent.offset, bucket)
        if index == len(self.slots):
            self.slots.append(slot)
        else:
            self.slots[index] = slot
        extent.offset += size
        extent.length -= size
        if not extent.length:
            self._extents.remove(extent)
        return slot

    def _scavenge(self, wanted: Bucket) -> Slot | None:
        """A new slot from what all unused slots of all sizes leave when they are dissolved."""
        for bucket in self._buckets.values():
            kept: deque[Slot] = deque()
            for slot in bucket.sent:
                (bucket.free if slot.is_released() else kept).append(slot)
            bucket.sent = kept
            for slot in bucket.free:
                self.slots[slot.index] = None
                self._unused.append(slot.index)
                self._extents.append(_Extent(slot.chunk, slot.offset, slot.size))
            bucket.free = []
        self._extents = _joined(self._extents)
        return self._carve(wanted)


def _joined(extents: list[_Extent]) -> list[_Extent]:
    """The same memory in as few pieces as possible; a piece never spans two chunks."""
    result: list[_Extent] = []
    for extent in sorted(extents, key=lambda e: e.offset):
        last = result[-1] if result else None
        if (
            last is not None
            and last.chunk is extent.chunk
            and last.offset + last.length == extent.offset
        ):
            last.length += extent.length
        else:
            result.append(extent)
    return result
