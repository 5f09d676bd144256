"""The two ends of a lane between processes that share no memory. Pure; runs in nodes (>= 3.10).

A lane goes from one sender to one replica. What the sender gives is numbered; the replica takes
nothing but the next number, and says how far it has got. What has not come after a while is asked
for (a probe), and sent again. What the replica has not taken when it is gone, others get.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

PROBE = 0  # the number of a message that only asks how far the replica has got
SOON = 0.3  # s without news until the sender asks, growing to
LATER = 2.4  # while there is none

_GIVEN = struct.Struct("<BQQI")
_TOLD = struct.Struct("<BQQQ")
_END, _LEAVING = 1, 1


class Given(NamedTuple):
    """In front of each message. `end`: the replica gets no more. `dropped`: how many this sender
    has thrown away so far and tells this replica; `replica`: which one the sender is, if it is."""

    number: int
    end: bool = False
    dropped: int = 0
    replica: int = 0

    def pack(self) -> bytes:
        return _GIVEN.pack(_END if self.end else 0, self.number, self.dropped, self.replica)

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Given, bytes]:
        """And what is behind it. Raises ValueError."""
        if len(data) < _GIVEN.size:
            raise ValueError("a shared message without its number")
        flags, number, dropped, replica = _GIVEN.unpack_from(data)
        return cls(number, bool(flags & _END), dropped, replica), data[_GIVEN.size :]


class Told(NamedTuple):
    """How far the replica has got: what has come, what the program has taken, and done with."""

    received: int
    taken: int
    finished: int
    leaving: bool = False  # it wants no more

    def pack(self) -> bytes:
        return _TOLD.pack(_LEAVING if self.leaving else 0, *self[:3])

    @classmethod
    def unpack(cls, data: bytes) -> Told:
        """Raises ValueError."""
        if len(data) != _TOLD.size:
            raise ValueError(f"what a replica tells has {len(data)} bytes")
        flags, *numbers = _TOLD.unpack(data)
        received, taken, finished = numbers
        return cls(received, taken, finished, bool(flags & _LEAVING))


@dataclass(slots=True)
class Item:
    """A message, or (`end`) the last word. What is not `data` is for this replica alone."""

    content: Any
    key: Hashable | None = None
    end: bool = False
    data: bool = True


class Outbound:
    """The sender's end; `window` is how many messages may be before the replica."""

    def __init__(self, member: str, window: int) -> None:
        self.member = member
        self.window = window
        self.there = True
        self.leaving = False
        self.dropped = 0  # what this replica is told of what was thrown away
        self._given = 0
        self._told = Told(0, 0, 0)
        self._kept: deque[tuple[int, Item]] = deque()  # not taken yet, as far as is known
        self._news = 0.0  # when something was given or told last
        self._probed = False
        self._patience = SOON

    def __repr__(self) -> str:
        return f"<Outbound to {self.member}: {self._given} given, {self._told}>"

    @property
    def open(self) -> bool:
        return self.there and not self.leaving

    def load(self) -> int:
        return self._given - self._told.finished

    def finished(self) -> int:
        return self._told.finished

    def has_room(self) -> bool:
        return self._given - self._told.taken < self.window

    @property
    def idle(self) -> bool:
        """Whether the replica has done with all, and has said so."""
        return self._told.finished >= self._given

    @property
    def received(self) -> bool:
        """Whether all has come."""
        return self._told.received >= self._given

    def give(self, item: Item, now: float) -> int:
        """Its number."""
        self._given += 1
        self._kept.append((self._given, item))
        self._news = now
        self._patience = SOON
        return self._given

    def told(self, told: Told, now: float) -> list[tuple[int, Item]]:
        """What is to be sent again."""
        asked, self._probed = self._probed, False
        self._news = now
        last = self._told
        if told[:3] != last[:3]:
            self._patience = SOON
        self._told = Told(
            max(last.received, told.received),
            max(last.taken, told.taken),
            max(last.finished, told.finished),
        )
        while self._kept and self._kept[0][0] <= self._told.taken:
            self._kept.popleft()
        return [it for it in self._kept if it[0] > self._told.received] if asked else []

    def probe(self, now: float) -> bool:
        """Whether the replica is to be asked how far it has got: what it tells may be lost, too."""
        if self._told.finished >= self._given or now - self._news < self._patience:
            return False
        self._news = now
        self._patience = min(self._patience * 2, LATER)
        self._probed = True
        return True

    def gone(self) -> list[Item]:
        """The replica is no more: what it has not taken, in order."""
        self.there = False
        kept, self._kept = self._kept, deque()
        return [item for _, item in kept if item.data]


class Inbound:
    """The replica's end, for one sender."""

    def __init__(self) -> None:
        self.received = 0
        self.taken = 0
        self.finished = 0
        self.dropped = 0
        self.ended = False

    def __repr__(self) -> str:
        return f"<Inbound: {self.received} received, {self.taken} taken, {self.finished} done>"

    def arrived(self, given: Given) -> bool:
        """Whether it is the next, and counts. Others have come before, or come again."""
        if given.number != self.received + 1:
            return False
        self.received = given.number
        self.dropped = max(self.dropped, given.dropped)
        return True

    def told(self, leaving: bool) -> Told:
        return Told(self.received, self.taken, self.finished, leaving)
