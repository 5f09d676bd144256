"""What every layer promises to replicas that share an input: one suite for all of them.

An implementation's test module subclasses `SharingSuite` and provides the fixture `layer`: makes
another layer object of the same deployment, for a node of this name. All are closed by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from dora.communication.base import Kind
from dora.communication.distribution import Share
from tests.dora.harness import wait_until

T = 1_700_000_000_000_000_000
ROUTE = "flow/node/output"

Make = Callable[[str], Any]


class Replica:
    """One of several that share ROUTE."""

    def __init__(self, make: Make, number: int, policy: str = "drop_oldest", size: int = 100):
        self.layer = make(f"work.{number}")
        share = Share("work/input", f"work.{number}", "key")
        self.subscription = self.layer.subscribe(ROUTE, size, policy, share=share)
        self.got: list[tuple[Any, int]] = []

    def take(self) -> bool:
        """One message, if one waits."""
        message = self.subscription.receive()
        if message is None or message.kind is not Kind.DATA:
            return False
        if message.metadata["n"] >= 0:  # else it was sent by `meet`
            self.got.append((message.metadata.get("key"), message.metadata["n"]))
        return True

    def work(self) -> bool:
        """Takes one, and is done with it."""
        took = self.take()
        if took:
            self.subscription.done()
        return took

    def work_off(self) -> None:
        while self.work():
            pass


def meet(publisher: Any, *replicas: Replica) -> None:
    """Returns when all get messages."""
    met: set[Replica] = set()

    def once() -> bool:
        publisher.send(b"", {"n": -1}, T)
        for replica in replicas:
            while replica.work():
                met.add(replica)
        return met == set(replicas)

    wait_until(once, "all replicas to be known")
    time.sleep(0.1)
    for replica in replicas:
        replica.work_off()
        replica.got.clear()


def open_replicas(publisher: Any, expected: str) -> None:
    """Waits until the sender knows of so many, such as "1 of 2": what they tell takes a moment."""
    wait_until(lambda: f"{expected} replicas open" in repr(publisher), f"{expected} replicas open")


def work_until(replicas: list[Replica], count: int) -> None:
    def all_there() -> bool:
        for replica in replicas:
            replica.work()
        return sum(len(it.got) for it in replicas) >= count

    wait_until(all_there, f"{count} messages, of {[len(it.got) for it in replicas]}")
    time.sleep(0.05)
    for replica in replicas:
        replica.work_off()


class SharingSuite:
    """Subclass, and provide the fixture `layer`."""

    def test_each_message_goes_to_one_replica(self, layer: Make) -> None:
        """And those that are done get the next ones: none has all the work."""
        publisher = layer("node").publish(ROUTE, **self.options)
        replicas = [Replica(layer, number) for number in (1, 2, 3)]
        meet(publisher, *replicas)
        for number in range(90):
            publisher.send(b"x", {"n": number}, T)
        work_until(replicas, 90)
        assert list(range(90)) == sorted(n for it in replicas for _, n in it.got)
        assert all(len(it.got) >= 20 for it in replicas)

    def test_a_plain_reader_beside_replicas_gets_all(self, layer: Make) -> None:
        """Sharing is among those that share."""
        publisher = layer("node").publish(ROUTE, **self.options)
        replicas = [Replica(layer, number) for number in (1, 2)]
        plain = layer("other").subscribe(ROUTE, 1000, "drop_oldest")
        meet(publisher, *replicas)
        wait_until(plain.receive, "the plain reader")
        publisher.send(b"x", {"n": 1}, T)
        work_until(replicas, 1)
        found: list[int] = []

        def got() -> bool:
            while (message := plain.receive()) is not None:
                found.append(message.metadata["n"])
            return 1 in found

        wait_until(got, "the message at the plain reader")
        assert 1 == found.count(1) == sum(len(it.got) for it in replicas)

    def test_a_slow_replica_gets_less(self, layer: Make) -> None:
        """Who has least before it gets the next."""
        publisher = layer("node").publish(ROUTE, **self.options)
        slow, fast = replicas = [Replica(layer, number) for number in (1, 2)]
        meet(publisher, *replicas)
        for number in range(60):
            publisher.send(b"x", {"n": number}, T)

            def came(number: int = number) -> bool:
                fast.work_off()
                return len(fast.got) + slow.subscription.waiting > number

            wait_until(came, "the message at one of them")
        work_until(replicas, 60)
        assert len(slow.got) < len(fast.got)

    def test_a_key_stays_where_it_is_not_done(self, layer: Make) -> None:
        """A message of a key waits for the one before it, at the same replica."""
        publisher = layer("node").publish(ROUTE, **self.options)
        replicas = [Replica(layer, number) for number in (1, 2)]
        meet(publisher, *replicas)
        for number in range(3):
            publisher.send(b"x", {"n": number, "key": "a"}, T)
        work_until(replicas, 3)
        assert [[("a", n) for n in range(3)]] == [it.got for it in replicas if it.got]

    def test_a_key_on_the_move_is_held_back(self, layer: Make) -> None:
        """Away from a replica that is far behind, until what that one has is done."""
        publisher = layer("node").publish(ROUTE, **self.options)
        first = Replica(layer, 1)
        meet(publisher, first)
        for number in range(10):
            publisher.send(b"x", {"n": number, "key": "a"}, T)
        second = Replica(layer, 2)
        meet(publisher, second)
        wait_until(first.take, "the first message")
        for number in range(10, 20):
            publisher.send(b"x", {"n": number, "key": "a"}, T)
        time.sleep(0.2)
        assert not second.take()
        first.subscription.done()
        work_until([first, second], 20)
        assert list(range(20)) == sorted(n for _, n in first.got + second.got)
        assert sorted(first.got) == first.got
        assert sorted(second.got) == second.got

    def test_what_a_replica_leaves_behind_others_get(self, layer: Make) -> None:
        """Of one that is gone, in order, what it had not taken; what it had taken is gone."""
        publisher = layer("node").publish(ROUTE, **self.options)
        first = Replica(layer, 1)
        meet(publisher, first)
        for number in range(20):
            publisher.send(b"x", {"n": number, "key": number % 2}, T)
        wait_until(first.take, "the first message")
        second = Replica(layer, 2)
        first.layer.close()
        work_until([second], 19)
        assert [("0", 0)] == [(str(key), n) for key, n in first.got]
        for key in (0, 1):
            its = [n for k, n in second.got if k == key]
            assert sorted(its) == its
        assert list(range(1, 20)) == sorted(n for _, n in second.got)

    def test_a_replica_that_is_to_go_gets_no_more(self, layer: Make) -> None:
        """It works off what it has; messages of its keys wait until it is done with them."""
        publisher = layer("node").publish(ROUTE, **self.options)
        first, second = replicas = [Replica(layer, number) for number in (1, 2)]
        meet(publisher, *replicas)
        for number in range(40):
            publisher.send(b"x", {"n": number, "key": number % 8}, T)
        wait_until(first.take, "a message at the first")
        first.subscription.drain()
        open_replicas(publisher, "1 of 2")
        assert not first.subscription.drained
        for number in range(40, 80):
            publisher.send(b"x", {"n": number, "key": number % 8}, T)
        first.subscription.done()

        def through() -> bool:
            first.work()
            return bool(first.subscription.drained)

        wait_until(through, "the first to be through")
        had = len(first.got)
        assert all(n < 40 for _, n in first.got)
        work_until(replicas, 80)
        assert had == len(first.got)
        assert list(range(80)) == sorted(n for it in replicas for _, n in it.got)
        for key in range(8):
            its = [n for k, n in first.got if k == key] + [n for k, n in second.got if k == key]
            assert sorted(its) == its

    def test_messages_wait_for_a_replica(self, layer: Make) -> None:
        """Where all are gone, as many as a queue holds, the last ones."""
        publisher = layer("node").publish(ROUTE, **self.options)
        first = Replica(layer, 1, size=5)
        meet(publisher, first)
        first.layer.close()
        open_replicas(publisher, "0 of 0")
        for number in range(20):
            publisher.send(b"x", {"n": number}, T)
        second = Replica(layer, 2, size=5)
        work_until([second], 5)
        assert [15, 16, 17, 18, 19] == [n for _, n in second.got]

    def test_the_end_comes_behind_all_messages(self, layer: Make) -> None:
        """Each replica is told."""
        publisher = layer("node").publish(ROUTE, **self.options)
        replicas = [Replica(layer, number) for number in (1, 2)]
        meet(publisher, *replicas)
        for number in range(10):
            publisher.send(b"x", {"n": number}, T)
        publisher.finish()
        arrived = 0
        for replica in replicas:
            kinds: list[Kind] = []

            def closed(replica: Replica = replica, kinds: list[Kind] = kinds) -> bool:
                message = replica.subscription.receive()
                if message is not None:
                    kinds.append(message.kind)
                return bool(kinds) and kinds[-1] is Kind.CLOSED

            wait_until(closed, "the end")
            arrived += kinds.count(Kind.DATA)
        assert 10 == arrived

    def test_what_replicas_send_is_one_output(self, layer: Make) -> None:
        """With the replica in the metadata; it ends when all that are there have ended."""
        reader = layer("show").join("flow/work/output", 100, "drop_oldest")
        publishers = [
            self.announced(layer(f"work.{k}"), f"work.{k}").publish(f"flow/work.{k}/output")
            for k in (1, 2)
        ]
        got: list[tuple[int, int]] = []
        ends = []

        def read() -> int:
            while (message := reader.receive()) is not None:
                if message.kind is Kind.DATA:
                    got.append((message.metadata["replica"], message.metadata["n"]))
                else:
                    ends.append(message.kind)
            return len(got)

        def both() -> bool:
            for number, publisher in enumerate(publishers):
                publisher.send(b"", {"n": -number}, T)
            read()
            return {1, 2} == {replica for replica, _ in got}

        wait_until(both, "both replicas")
        publishers[0].send(b"x", {"n": 7}, T)
        publishers[1].send(b"x", {"n": 8}, T)
        wait_until(lambda: read() and (1, 7) in got and (2, 8) in got, "both messages")
        publishers[0].finish()
        time.sleep(0.5)
        read()
        assert [] == ends
        publishers[1].finish()
        wait_until(lambda: read() and ends, "the end")
        assert [Kind.CLOSED] == ends

    options: ClassVar[dict[str, Any]] = {}

    def announced(self, layer: Any, node: str) -> Any:
        """`layer`, after its node has announced itself as nodes do."""
        return layer
