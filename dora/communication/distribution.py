"""Decides which replica gets a message. Pure; runs in whoever sends (>= 3.10).

Replicas that share one input are a group; the way from one sender to one of them is a lane. Each
lane counts what it was given, and says how far its replica has got: a message is finished when the
replica asks for the next one. Who has least before it gets the next message. A key stays with its
replica as long as something of that key is not finished there, so that what one key causes comes
in order, however many replicas there are and whenever they come and go. For a key to leave
a replica that always has some of it, its next message is held back until that one is done.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

_UNEVEN = 2  # messages
_FIRST_LOOK = 1024  # keys, before those that are finished are looked for


@dataclass(frozen=True, slots=True)
class Share:
    """What a subscription takes part in: `group` is `<node>/<input>`, `member` the replica's name.
    `key` names the parameter (metadata) of which equal values are kept in order; empty: none."""

    group: str
    member: str
    key: str = ""


class Lane(Protocol):
    @property
    def there(self) -> bool:
        """Whether its replica still is: else nothing that it was given will be finished."""

    @property
    def open(self) -> bool:
        """Whether it may be given more."""

    def load(self) -> int:
        """How many messages are before the replica, with the one that it is at."""

    def finished(self) -> int:
        """The number of the last message that the replica has done with; they count from 1."""


L = TypeVar("L", bound=Lane)


class Distributor(Generic[L]):
    """Knows where the messages of each key went. Whoever calls keeps it to one thread at a time."""

    def __init__(self) -> None:
        self._keys: dict[Hashable, tuple[L, int]] = {}
        self._look = _FIRST_LOOK
        self._turn = 0

    def __repr__(self) -> str:
        return f"<Distributor of {len(self._keys)} keys>"

    def choose(self, lanes: Iterable[L], key: Hashable | None) -> L | None:
        """None: the message has to wait, since nobody is there, or since its key is on the move:
        not finished with a replica that takes no more, or has far more before it than another."""
        found = [lane for lane in lanes if lane.open]
        if key is not None and (last := self._keys.get(key)) is not None:
            lane, number = last
            if lane.there and lane.finished() < number:
                return lane if lane.open and not _overloaded(lane, found) else None
        if not found:
            return None
        # Of equals one after the other: else the first would do all the work of a slow flow.
        self._turn += 1
        start = self._turn % len(found)
        return min(found[start:] + found[:start], key=lambda lane: lane.load())

    def gave(self, lane: L, number: int, key: Hashable | None) -> None:
        """The lane was given its message `number`."""
        if key is None:
            return
        self._keys[key] = lane, number
        if len(self._keys) >= self._look:
            self._keys = {
                key: (lane, number)
                for key, (lane, number) in self._keys.items()
                if lane.there and lane.finished() < number
            }
            self._look = max(2 * len(self._keys), _FIRST_LOOK)


def _overloaded(lane: L, others: Iterable[L]) -> bool:
    """Else a replica that never runs dry would keep its keys for ever, and new ones had none."""
    return lane.load() > 2 * min(other.load() for other in others) + _UNEVEN


def key_of(metadata: Mapping[str, Any], name: str) -> Hashable | None:
    """The message's key; None for one that has none: any replica may get it at any time."""
    value = metadata.get(name) if name else None
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)
