"""Replicas of a node that share one input: each message goes to one of them. Node (>= 3.10).

All of it happens under the layer's lock. What a replica has not taken lies in its pipe, of which
the producer holds the other end: from one that is gone it is taken back, exactly, and given to the
others. What nobody can have at the moment waits here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any, NamedTuple

from dora.communication.distribution import Distributor
from dora.communication.shm.allocator import Slot
from dora.communication.shm.record import DATA, GIVEN, NUMBER, NUMBER_AT, Record
from dora.communication.shm.sender import Subscriber

MOST_WAITING = 1000  # messages that wait here for a replica, where none is to be dropped


class Letter(NamedTuple):
    """A message on its way. `tail` is its record but for the epoch and the number."""

    slot: Slot
    tail: bytes
    key: Hashable | None


class Waits:
    """Holds the slot of a letter that nobody has been given yet."""

    released: Any = ()

    def __init__(self) -> None:
        self.released = self
        self.alive = True

    def __getitem__(self, slot: int) -> int:
        return -1


class Group:
    """`name` is `<node>/<input>`; `key` the parameter whose values are kept in order."""

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.size = 1  # of a replica's queue
        self.blocking = False
        self.lanes: tuple[Subscriber, ...] = ()
        self.waiting: deque[tuple[Letter, Waits]] = deque()
        self.lost = 0  # that waited here, and for which there was no room
        self._distributor: Distributor[Subscriber] = Distributor()
        self._given: dict[Subscriber, deque[tuple[int, Hashable | None]]] = {}

    def __repr__(self) -> str:
        open = sum(lane.open for lane in self.lanes)
        return (
            f"<Group {self.name}: {open} of {len(self.lanes)} replicas open, "
            f"{len(self.waiting)} waiting>"
        )

    def add(self, lane: Subscriber) -> None:
        self.lanes = (*self.lanes, lane)
        self.size, self.blocking = lane.size, lane.blocking
        self._given[lane] = deque()
        self.pump()

    def remove(self, lane: Subscriber) -> None:
        """It is gone: what it had not taken is for the others, in front of all that waits."""
        if lane not in self.lanes:
            return
        self.lanes = tuple(it for it in self.lanes if it is not lane)
        keys = dict(self._given.pop(lane))
        back: list[tuple[Letter, Waits]] = []
        while (data := lane.take()) is not None:
            record = Record.unpack(data)
            slot = lane.slots.slot(record.slot, record.generation)
            lane.disown(data)
            if record.kind == GIVEN and record.epoch == lane.epoch and slot is not None:
                tail = bytes((DATA,)) + data[5:]
                back.append(_held(Letter(slot, tail, keys.get(record.number))))
        self.waiting.extendleft(reversed(back))
        lane.depart()
        self.pump()

    def offer(self, letter: Letter) -> bool:
        """Gives it to a replica, or keeps it for one. False: whoever sends has to wait."""
        if not self.waiting:
            lane = self._distributor.choose(self.lanes, letter.key)
            if lane is not None:
                if lane.has_room() or lane.make_room():
                    self._give(lane, letter)
                    return True
                return False
        if self.blocking and self.lanes and len(self.waiting) >= self.size:
            return False
        if len(self.waiting) >= (MOST_WAITING if self.blocking else self.size):
            self._lose_oldest()
        self.waiting.append(_held(letter))
        self.pump()
        return True

    def pump(self) -> None:
        """Gives what waits to replicas that can take it now; of each key in order."""
        blocked: set[Hashable] = set()
        kept: deque[tuple[Letter, Waits]] = deque()
        while self.waiting:
            letter, hold = self.waiting.popleft()
            if letter.key is not None and letter.key in blocked:
                kept.append((letter, hold))
                continue
            lane = self._distributor.choose(self.lanes, letter.key)
            if lane is not None and (lane.has_room() or lane.make_room()):
                self._give(lane, letter)
                hold.alive = False
                continue
            kept.append((letter, hold))
            if letter.key is None:
                break  # nobody can take anything
            blocked.add(letter.key)
        kept.extend(self.waiting)
        self.waiting = kept

    def drain(self, lane: Subscriber) -> None:
        """It gets nothing more, and hears so behind all that it was given."""
        if lane in self.lanes and not lane.leaving:
            lane.end()

    def lose(self) -> None:
        """A message was lost for want of memory."""
        for lane in self.lanes[:1]:
            lane.drop()

    def _give(self, lane: Subscriber, letter: Letter) -> None:
        number = lane.given + 1
        lane.given = number
        given = self._given[lane]
        if self.key:
            finished = lane.finished()
            while given and given[0][0] <= finished:
                given.popleft()
            given.append((number, letter.key))
        tail = bytes((GIVEN,)) + letter.tail[1:NUMBER_AT]
        tail += NUMBER.pack(number & 0xFFFFFFFF) + letter.tail[NUMBER_AT + NUMBER.size :]
        lane.give(letter.slot, tail)
        self._distributor.gave(lane, number, letter.key)

    def _lose_oldest(self) -> None:
        _, hold = self.waiting.popleft()
        hold.alive = False
        self.lost += 1
        for lane in self.lanes[:1]:
            lane.drop()


def _held(letter: Letter) -> tuple[Letter, Waits]:
    hold = Waits()
    letter.slot.holders = (*letter.slot.holders, hold)
    return letter, hold
