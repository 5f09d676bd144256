"""Which part of the arena a message gets: histories of sending and releasing, no memory needed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.communication.shm.allocator import ALIGNMENT, Allocator, Slot, size_class

CHUNK = 1 << 16
LIMIT = 4 * CHUNK


@dataclass(frozen=True)
class Piece:
    offset: int
    length: int


@dataclass(eq=False)
class Reader:
    """Holds what it was sent until it says otherwise."""

    alive: bool = True
    released: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.released = _Zeros()

    def release(self, slot: Slot, generation: int) -> None:
        self.released[slot.index] = generation


class _Zeros(dict[int, int]):
    def __missing__(self, key: int) -> int:
        return 0


class Memory:
    """An arena without bytes."""

    def __init__(self) -> None:
        self.end = 0

    def extend(self, length: int) -> Piece:
        piece = Piece(self.end, length)
        self.end += length
        return piece


def make(slots: int = 1000) -> tuple[Allocator, Memory]:
    memory = Memory()
    return Allocator(memory.extend, chunk=CHUNK, limit=LIMIT, slots=slots), memory


def send(allocator: Allocator, size: int, *readers: Reader) -> Slot | None:
    slot = allocator.allocate(size)
    if slot is not None:
        slot.holders = readers
        allocator.post(slot)
    return slot


def must_send(allocator: Allocator, size: int, *readers: Reader) -> Slot:
    slot = send(allocator, size, *readers)
    assert slot is not None
    return slot


@given(st.integers(0, 1 << 40))
def test_classes_fit_and_waste_little(size: int) -> None:
    """At most a quarter, once it is more than a few cache lines."""
    rounded = size_class(size)
    assert rounded >= size
    assert rounded % ALIGNMENT == 0
    assert size_class(rounded) == rounded
    assert size <= 256 or rounded < size * 1.25


def test_a_reader_that_keeps_up_needs_one_slot() -> None:
    """The newest is taken again while it is warm in the caches."""
    allocator, _ = make()
    reader = Reader()
    offsets = set()
    for _ in range(100):
        slot = must_send(allocator, 1000, reader)
        offsets.add(slot.offset)
        reader.release(slot, slot.generation)
    assert 1 == len(offsets)


def test_memory_that_a_burst_took_rests_while_less_is_enough() -> None:
    """A reader that is always a few messages behind keeps a few slots warm, not all of them."""
    allocator, _ = make()
    reader = Reader()
    burst = [must_send(allocator, 1000, reader) for _ in range(30)]
    for slot in burst:
        reader.release(slot, slot.generation)
    waiting: list[Slot] = []
    used = set()
    for number in range(200):
        waiting.append(must_send(allocator, 1000, reader))
        if number >= 20:
            used.add(waiting[-1].index)
        if len(waiting) > 3:
            slot = waiting.pop(0)
            reader.release(slot, slot.generation)
    assert len(used) <= 8
    assert 30 == len(allocator.slots)


def test_a_release_may_come_in_the_middle_of_a_search() -> None:
    """The reader is another process: what was not released a moment ago may be now."""
    for moment in range(6):
        allocator, _ = make()
        reader = Turncoat(moment)
        for _ in range(3):
            must_send(allocator, 1000, reader)
        reader.looking = True
        must_send(allocator, 1000)


class Turncoat(Reader):
    """Gives everything back after so many looks."""

    def __init__(self, moment: int) -> None:
        super().__init__()
        self.looking = False
        self._left = moment

    def __getattribute__(self, name: str) -> object:
        if name == "alive" and super().__getattribute__("looking"):
            self._left -= 1
            return self._left >= 0
        return super().__getattribute__(name)


def test_one_value_that_is_kept_costs_one_slot() -> None:
    """Releases come in any order."""
    allocator, _ = make()
    reader = Reader()
    must_send(allocator, 1000, reader)
    for _ in range(1000):
        slot = must_send(allocator, 1000, reader)
        reader.release(slot, slot.generation)
    assert 2 == len(allocator.slots)


def test_a_slot_waits_for_all_of_its_readers() -> None:
    """Also for one that got it late."""
    allocator, _ = make()
    first, second = Reader(), Reader()
    slot = must_send(allocator, 100, first, second)
    first.release(slot, slot.generation)
    assert must_send(allocator, 100).offset != slot.offset
    second.release(slot, slot.generation)
    assert slot.is_released()


def test_the_dead_hold_nothing() -> None:
    """Their slots are free without a word from them."""
    allocator, _ = make()
    reader = Reader()
    slots = [must_send(allocator, 100, reader) for _ in range(20)]
    reader.alive = False
    assert all(slot.is_released() for slot in slots)
    for _ in range(100):
        must_send(allocator, 100)
    assert 20 == len(allocator.slots)


def test_the_release_of_an_earlier_use_frees_nothing() -> None:
    """A slot has a new generation each time."""
    allocator, _ = make()
    reader = Reader()
    slot = must_send(allocator, 100, reader)
    old = slot.generation
    reader.release(slot, old)
    again = must_send(allocator, 100, reader)
    assert again is slot
    reader.release(slot, old)
    assert not slot.is_released()
    assert (None, slot) == (allocator.slot(0, old), allocator.slot(0, slot.generation))


def test_a_full_pool_gives_nothing_and_recovers() -> None:
    """Everything is held; then one is given back."""
    allocator, memory = make()
    reader = Reader()
    held = []
    while (slot := send(allocator, CHUNK // 4, reader)) is not None:
        held.append(slot)
    assert (16, LIMIT) == (len(held), memory.end)
    reader.release(held[5], held[5].generation)
    found = send(allocator, CHUNK // 4)
    assert found is not None
    assert held[5].offset == found.offset


def test_memory_of_one_size_serves_another() -> None:
    """Unused slots are dissolved and joined when the pool is full."""
    allocator, memory = make()
    reader = Reader()
    small = []
    while (slot := send(allocator, 4096, reader)) is not None:
        small.append(slot)
    for slot in small:
        reader.release(slot, slot.generation)
    assert send(allocator, CHUNK) is not None
    assert LIMIT == memory.end


def test_a_message_that_is_larger_than_the_pool_is_refused() -> None:
    """And nothing is lost by that."""
    allocator, memory = make()
    assert allocator.allocate(LIMIT + 1) is None
    assert allocator.allocate(LIMIT) is not None
    assert LIMIT == memory.end


def test_slots_are_limited_too() -> None:
    """The consumers' tables have room for so many."""
    allocator, _ = make(slots=10)
    reader = Reader()
    held = [must_send(allocator, 64, reader) for _ in range(10)]
    assert allocator.allocate(64) is None
    reader.release(held[0], held[0].generation)
    assert must_send(allocator, 128).index == 0


def test_no_memory_is_no_disaster() -> None:
    """The machine may have less than the limit."""

    def extend(length: int) -> Piece:
        raise MemoryError

    allocator = Allocator(extend, chunk=CHUNK, limit=LIMIT, slots=10)
    assert allocator.allocate(1) is None


@pytest.mark.parametrize("readers", [1, 3])
@given(data=st.data())
def test_no_two_messages_that_are_looked_at_overlap(readers: int, data: st.DataObject) -> None:
    """Whatever is sent, released and dies in whatever order; and all memory comes back."""
    allocator, memory = make(slots=40)
    people = [Reader() for _ in range(readers)]
    held: list[tuple[Slot, int, int, set[Reader]]] = []  # slot, generation, size, who has it
    for _ in range(data.draw(st.integers(1, 40))):
        if held and data.draw(st.booleans()):
            slot, generation, _, who = held[data.draw(st.integers(0, len(held) - 1))]
            reader = data.draw(st.sampled_from(sorted(who, key=people.index)))
            reader.release(slot, generation)
            who.discard(reader)
        else:
            size = data.draw(st.sampled_from([1, 64, 65, 1000, 5000, CHUNK // 2, CHUNK, 3 * CHUNK]))
            chosen = data.draw(st.sets(st.sampled_from(people), min_size=1))
            new = send(allocator, size, *chosen)
            if new is not None:
                held.append((new, new.generation, size, set(chosen)))
        held = [entry for entry in held if entry[3]]
        spans = sorted((slot.offset, slot.offset + size) for slot, _, size, _ in held)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
        assert all(slot.generation == generation for slot, generation, _, _ in held)
        assert memory.end <= LIMIT
    for reader in people:
        reader.alive = False
    if memory.end == LIMIT:
        assert allocator.allocate(CHUNK) is not None
