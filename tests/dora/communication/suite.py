"""What every communication layer promises: one suite for all of them.

An implementation's test module subclasses `LayerSuite` and provides the fixture `pair`: two layer
objects, of which the first publishes and the second subscribes (the same object is fine).
"""

from __future__ import annotations

import select
import time
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from dora.communication.base import Kind, Layer, Message, Publisher, Subscription
from tests.dora.harness import PATIENCE, wait_until

ROUTE = "flow/node/output"
T = 1_700_000_000_000_000_000

Pair = tuple[Layer, Layer]


def readable(subscription: Subscription, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(subscription.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def receive(subscription: Subscription) -> Message:
    """The next message, waited for."""
    message: Message = wait_until(subscription.receive, "a message")
    return message


def settle(publisher: Publisher, *subscriptions: Subscription) -> None:
    """Returns when what is sent reaches all: layers over processes need a moment to connect.

    One arrival is not enough: zenoh may send the first message along, hear only then that nobody
    has subscribed, and keep back the next until it hears better.
    """
    for subscription in subscriptions:
        arrived = 0
        deadline = time.monotonic() + PATIENCE
        while arrived < 3:
            assert time.monotonic() < deadline, "the subscription was never connected"
            publisher.send(b"", {"probe": True}, T)
            arrived = arrived + 1 if readable(subscription, 0.05) else 0
            while subscription.receive() is not None:
                pass
    publisher.send(b"", {"last": True}, T)
    for subscription in subscriptions:
        while "last" not in receive(subscription).metadata:
            pass
        assert subscription.receive() is None


def numbers(subscription: Subscription, count: int) -> list[int]:
    return [receive(subscription).metadata["n"] for _ in range(count)]


def send_numbers(publisher: Publisher, numbers: range) -> None:
    for number in numbers:
        publisher.send(b"x", {"n": number}, T)


def deliver(
    publisher: Publisher, subscription: Subscription, value: Any, number: int, lossy: bool
) -> Message:
    """The message of this number, sent again where a `lossy` layer had no room for it: the other
    process may have stood still for a while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        publisher.send(value, {"n": number}, T)
        while readable(subscription, 5 if lossy else PATIENCE):
            message = subscription.receive()
            if message is not None and message.metadata["n"] == number:
                return message
    raise AssertionError(f"not within {PATIENCE} s: message {number}")


class LayerSuite:
    """Subclass, and provide the fixture `pair`."""

    lossy: ClassVar[bool] = False  # what there is no room for on the way is dropped

    def test_a_message_arrives_as_it_was_sent(self, pair: Pair) -> None:
        """Value, metadata and timestamp."""
        publisher, subscription = self.connect(pair)
        publisher.send(pa.array(["a", None]), {"k": 1.0, "l": [1]}, T + 1)
        message = receive(subscription)
        assert (Kind.DATA, T + 1, {"k": 1.0, "l": [1]}) == (
            message.kind,
            message.timestamp,
            message.metadata,
        )
        assert pa.array(["a", None]).equals(message.value())

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"ab", pa.array([97, 98], pa.uint8())),
            (np.array([1.5, 2.5]), pa.array([1.5, 2.5])),
            (pa.array([[1], None]), pa.array([[1], None])),
            (pa.array([1, 2, 3])[1:], pa.array([2, 3])),
            (pa.nulls(2), pa.nulls(2)),
            (b"", pa.array([], pa.uint8())),
        ],
    )
    def test_buffers_and_arrays_arrive_as_arrays(
        self, pair: Pair, value: Any, expected: pa.Array
    ) -> None:
        """Whatever may be sent arrives as an Arrow array of its type."""
        publisher, subscription = self.connect(pair)
        publisher.send(value, {}, T)
        assert expected.equals(receive(subscription).value())

    def test_what_no_array_can_carry_is_refused(self, pair: Pair) -> None:
        """With TypeError, and nothing arrives."""
        publisher, subscription = self.connect(pair)
        with pytest.raises(TypeError):
            publisher.send([1], {}, T)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)

    def test_order_is_kept(self, pair: Pair) -> None:
        """However many there are."""
        publisher, subscription = self.connect(pair, queue_size=1000)
        send_numbers(publisher, range(1000))
        assert list(range(1000)) == numbers(subscription, 1000)

    def test_a_full_queue_drops_its_oldest_and_counts(self, pair: Pair) -> None:
        """The receiver gets the latest."""
        publisher, subscription = self.connect(pair, queue_size=3)
        before = subscription.dropped
        send_numbers(publisher, range(10))
        wait_until(lambda: subscription.dropped == before + 7, "seven are dropped")
        assert [7, 8, 9] == numbers(subscription, 3)
        assert subscription.receive() is None

    @pytest.mark.parametrize("policy", ["drop_oldest", "backpressure"])
    def test_a_queue_of_size_zero_holds_one(self, pair: Pair, policy: str) -> None:
        """As dora has it."""
        publisher, subscription = self.connect(pair, queue_size=0, policy=policy)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)

    def test_flush_empties_the_queue_first(self, pair: Pair) -> None:
        """What waits is out of date; that is no drop."""
        publisher, subscription = self.connect(pair)
        before = subscription.dropped
        send_numbers(publisher, range(5))
        publisher.send(b"", {"n": 5, "flush": True}, T)
        publisher.finish()
        found = []
        while (message := receive(subscription)).kind is Kind.DATA:
            found.append(message.metadata["n"])
            if len(found) == 1 and found != [5]:
                # Taken before the flush came: whatever waits then still goes.
                found.clear()
        assert ([5], before) == (found, subscription.dropped)

    def test_two_subscribers_get_everything_each(self, pair: Pair) -> None:
        """And may change their metadata."""
        publisher, first = self.connect(pair)
        second = pair[1].subscribe(ROUTE, 10, "drop_oldest")
        settle(publisher, second, first)
        send_numbers(publisher, range(3))
        message = receive(first)
        message.metadata["n"] = "mine"
        assert [0, 1, 2] == numbers(second, 3)
        assert [1, 2] == numbers(first, 2)

    def test_two_publishers_of_one_route_are_heard(self, pair: Pair) -> None:
        """A restarted node may meet its own past."""
        publisher, subscription = self.connect(pair)
        other = pair[0].publish(ROUTE)
        settle(other, subscription)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)
        other.send(b"", {"n": 2}, T)
        assert [2] == numbers(subscription, 1)

    def test_the_producer_may_come_first(self, pair: Pair) -> None:
        """Sending to nobody is fine, and a late reader gets what comes from then on."""
        publisher = pair[0].publish(ROUTE)
        publisher.send(b"", {"n": 0}, T)
        subscription = pair[1].subscribe(ROUTE, 10, "drop_oldest")
        settle(publisher, subscription)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)

    def test_finish_comes_behind_the_data(self, pair: Pair) -> None:
        """And says that this was all; the route can be taken up again."""
        publisher, subscription = self.connect(pair, queue_size=2)
        before = subscription.dropped
        send_numbers(publisher, range(5))
        publisher.finish()
        wait_until(lambda: subscription.dropped == before + 3, "the queue is full")
        assert [3, 4] == numbers(subscription, 2)
        assert Kind.CLOSED == receive(subscription).kind
        publisher.send(b"", {"n": 5}, T)
        assert [5] == numbers(subscription, 1)

    def test_a_publisher_may_be_replaced(self, pair: Pair) -> None:
        """The subscription outlives it."""
        publisher, subscription = self.connect(pair)
        publisher.close()
        again = pair[0].publish(ROUTE)
        settle(again, subscription)
        again.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)

    def test_routes_are_apart(self, pair: Pair) -> None:
        """A route gets nothing of another."""
        publisher, subscription = self.connect(pair)
        other = pair[0].publish(ROUTE + "2")
        other.send(b"", {"n": 2}, T)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(subscription, 1)
        assert subscription.receive() is None

    def test_large_messages_arrive_whole(self, pair: Pair) -> None:
        """20 MB, three times."""
        publisher, subscription = self.connect(pair)
        data = np.arange(20_000_000 // 8)
        for number in range(3):
            message = deliver(publisher, subscription, data, number, self.lossy)
            assert np.array_equal(data, message.value().to_numpy())

    def test_values_outlive_the_layer(self, pair: Pair) -> None:
        """They may be kept for ever, and looked at as late as one likes."""
        publisher, subscription = self.connect(pair)
        publisher.send(np.arange(10), {}, T)
        publisher.send(np.arange(20), {}, T)
        first = receive(subscription).value()
        second = receive(subscription)
        subscription.close()
        for layer in pair:
            layer.close()
        assert (list(range(10)), list(range(20))) == (
            first.to_pylist(),
            second.value().to_pylist(),
        )

    @pytest.mark.parametrize("make", [bytearray, lambda b: np.frombuffer(bytearray(b), np.uint8)])
    def test_the_sender_may_change_its_buffer(self, pair: Pair, make: Any) -> None:
        """As soon as `send` has returned."""
        publisher, subscription = self.connect(pair)
        buffer = make(b"before")
        publisher.send(buffer, {}, T)
        buffer[:6] = bytearray(b"after!")
        assert b"before" == bytes(receive(subscription).value().to_pylist())

    def test_fileno_is_readable_exactly_while_something_waits(self, pair: Pair) -> None:
        """So that one epoll can wait for all layers."""
        publisher, subscription = self.connect(pair)
        assert not readable(subscription)
        send_numbers(publisher, range(2))
        assert readable(subscription, 10)
        assert [0] == numbers(subscription, 1)
        assert readable(subscription, 10)
        assert [1] == numbers(subscription, 1)
        assert subscription.receive() is None
        assert not readable(subscription)

    def test_everything_may_be_closed_twice(self, pair: Pair) -> None:
        """In any order; sending afterwards does nothing."""
        publisher, subscription = self.connect(pair)
        for item in (subscription, publisher, pair[0], pair[1]) * 2:
            item.close()
        publisher.send(b"x", {}, T)
        publisher.finish()
        assert subscription.receive() is None

    def connect(
        self, pair: Pair, queue_size: int = 10, policy: str = "drop_oldest"
    ) -> tuple[Publisher, Subscription]:
        """A publisher and a subscription that came first, connected."""
        subscription = pair[1].subscribe(ROUTE, queue_size, policy)
        publisher = pair[0].publish(ROUTE)
        settle(publisher, subscription)
        return publisher, subscription
