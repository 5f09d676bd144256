"""What waits for the replicas of one input, and who gets what next. Pure; in senders (>= 3.10)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from dora.communication.distribution import Distributor
from dora.communication.lane import Item, Outbound


class Send(NamedTuple):
    """To be sent through a lane; with the number 0 it only asks."""

    lane: Outbound
    number: int
    item: Item | None


class Sharing:
    """`key` names the parameter whose values are kept in order; at most `limit` messages wait,
    then the oldest is dropped and counted."""

    def __init__(self, key: str, limit: int, blocking: bool) -> None:
        self.key = key
        self.limit = limit
        self.blocking = blocking
        self._untold = 0  # dropped, and nobody was told yet
        self.lanes: list[Outbound] = []
        self._waiting: deque[Item] = deque()
        self._again: deque[Send] = deque()
        self._distributor: Distributor[Outbound] = Distributor()

    def __repr__(self) -> str:
        open = sum(lane.open for lane in self.lanes)
        return (
            f"<Sharing: {open} of {len(self.lanes)} replicas open, {self.lanes}, "
            f"{len(self._waiting)} waiting>"
        )

    @property
    def full(self) -> bool:
        """Whether a sender has to wait: only where it is asked to, and somebody is there."""
        return self.blocking and bool(self.lanes) and len(self._waiting) >= self.limit

    @property
    def quiet(self) -> bool:
        """Whether all has been given, and has come."""
        return not self.lanes or (not self._waiting and all(it.received for it in self.lanes))

    @property
    def idle(self) -> bool:
        """Whether nobody needs to be asked for anything."""
        return not self._waiting and all(it.idle for it in self.lanes)

    def add(self, lane: Outbound) -> None:
        self.lanes.append(lane)

    def remove(self, lane: Outbound) -> None:
        """It is gone: what it had not taken is for the others, in front of all that waits."""
        self.lanes.remove(lane)
        self._waiting.extendleft(reversed(lane.gone()))

    def put(self, content: object, key: Hashable | None) -> None:
        if len(self._waiting) >= self.limit:
            self._waiting.popleft()
            self._untold += 1
        self._waiting.append(Item(content, key))

    def drain(self, lane: Outbound, now: float) -> None:
        """It wants no more, and hears when it has all."""
        if not lane.leaving:
            lane.leaving = True
            self._say(lane, Item(None, end=True, data=False), now)

    def tell(self, content: object, now: float) -> None:
        """Every replica, behind all that it was given."""
        for lane in self.lanes:
            if lane.open:
                self._say(lane, Item(content, data=False), now)

    def repeat(self, lane: Outbound, items: list[tuple[int, Item]]) -> None:
        self._again.extend(Send(lane, number, item) for number, item in items)

    def next(self, now: float) -> Send | None:
        """What is to be sent now; None: nothing can be."""
        while self._again:
            send = self._again.popleft()
            if send.lane.there:
                return send
        blocked: set[Hashable] = set()
        for index, item in enumerate(self._waiting):
            if item.key is not None and item.key in blocked:
                continue
            lane = self._distributor.choose(self.lanes, item.key)
            if lane is not None and lane.has_room():
                del self._waiting[index]
                lane.dropped += self._untold
                self._untold = 0
                number = lane.give(item, now)
                self._distributor.gave(lane, number, item.key)
                return Send(lane, number, item)
            if item.key is None:
                break  # nobody has room
            blocked.add(item.key)
        return None

    def probes(self, now: float) -> list[Send]:
        """Replicas to ask, since nothing was heard of what they were given."""
        return [Send(lane, 0, None) for lane in self.lanes if lane.probe(now)]

    def _say(self, lane: Outbound, item: Item, now: float) -> None:
        self._again.append(Send(lane, lane.give(item, now), item))
