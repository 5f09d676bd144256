"""A lane between processes, over a link that loses what it likes."""

from __future__ import annotations

import random

import pytest

from dora.communication.lane import LATER, PROBE, Given, Inbound, Outbound, Told
from dora.communication.sharing import Send, Sharing


def test_what_is_said_is_read_again() -> None:
    """Both ways; other bytes are refused."""
    given = Given(7, True, 3, 2)
    assert (given, b"rest") == Given.unpack(given.pack() + b"rest")
    told = Told(9, 8, 7, True)
    assert told == Told.unpack(told.pack())
    for unpack in (Given.unpack, Told.unpack):
        with pytest.raises(ValueError, match=r"has|without"):
            unpack(b"short")


class Link:
    """A sender and its replicas; each message either way is lost with this probability."""

    def __init__(self, seed: int, loss: float, replicas: int = 2) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.sharing = Sharing("key", 1000, blocking=True)
        self.ends: dict[Outbound, Inbound] = {}
        self.queues: dict[Outbound, list[Send]] = {}
        self.got: dict[Outbound, list[object]] = {}
        for _ in range(replicas):
            self.add()

    def add(self) -> Outbound:
        lane = Outbound("it", 5)
        self.sharing.add(lane)
        self.ends[lane], self.queues[lane], self.got[lane] = Inbound(), [], []
        return lane

    def lost(self) -> bool:
        return self.random.random() < self.loss

    def tell(self, lane: Outbound, leaving: bool = False) -> None:
        if not self.lost() and lane.there:
            self.sharing.repeat(lane, lane.told(self.ends[lane].told(leaving), self.now))
            if leaving:
                self.sharing.drain(lane, self.now)

    def step(self, leaving: Outbound | None = None) -> None:
        """All that can be sent is; then each replica takes one."""
        self.now += LATER
        sends = []
        while (send := self.sharing.next(self.now)) is not None:
            sends.append(send)
        for send in sends + self.sharing.probes(self.now):
            if self.lost() or not send.lane.there:
                continue
            end = send.item is not None and send.item.end
            if self.ends[send.lane].arrived(Given(send.number, end)):
                self.queues[send.lane].append(send)
            elif send.number == PROBE or self.random.random() < 0.5:
                self.tell(send.lane, send.lane is leaving)
        for lane, queue in self.queues.items():
            if queue and lane.there:
                send = queue.pop(0)
                assert send.item is not None
                inbound = self.ends[lane]
                inbound.taken = inbound.finished = send.number
                inbound.ended = send.item.end
                if not send.item.end:
                    self.got[lane].append(send.item.content)
                self.tell(lane, lane is leaving)


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_nor_comes_twice(loss: float, seed: int) -> None:
    """Also while one replica goes and another comes; of each key in order."""
    link = Link(seed, loss)
    leaving = link.sharing.lanes[0]
    for number in range(100):
        link.sharing.put((number % 5, number), number % 5)
        link.step(leaving if number > 30 else None)
        if number == 60:
            link.add()
    for _ in range(3000):
        if link.sharing.quiet and not any(link.queues.values()):
            break
        link.step(leaving)
    everything = [it for got in link.got.values() for it in got]
    assert [(n % 5, n) for n in range(100)] == sorted(everything, key=lambda it: it[1])
    for got in link.got.values():
        for key in range(5):
            its = [n for k, n in got if k == key]
            assert sorted(its) == its


def test_of_one_that_is_gone_others_get_what_it_had_not_taken() -> None:
    """In order, in front of what waits."""
    link = Link(1, 0.0, replicas=1)
    first = link.sharing.lanes[0]
    for number in range(10):
        link.sharing.put(("a", number), "a")
    link.step()
    link.step()
    link.sharing.remove(first)
    second = link.add()
    for _ in range(20):
        link.step()
    assert [("a", 0), ("a", 1)] == link.got[first]
    assert [("a", n) for n in range(2, 10)] == link.got[second]
