"""The layer inside one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from dora.communication.memory import MemoryLayer
from tests.dora.communication.suite import ROUTE, LayerSuite, Pair, T, receive


@pytest.fixture
def pair() -> Iterator[Pair]:
    layer = MemoryLayer()
    yield layer, layer
    layer.close()


class TestMemoryLayer(LayerSuite):
    def test_arrow_arrays_go_by_reference(self, pair: Pair) -> None:
        """The receiver has the very object."""
        publisher, subscription = self.connect(pair)
        array = pa.array([1])
        publisher.send(array, {}, T)
        assert receive(subscription).value() is array

    def test_many_threads_may_send(self, pair: Pair) -> None:
        """Nothing is lost between them."""
        subscription = pair[1].subscribe(ROUTE, 4000, "drop_oldest")
        publishers = [pair[0].publish(ROUTE) for _ in range(4)]
        threads = [
            threading.Thread(target=lambda p=p: [p.send(b"x", {}, T) for _ in range(1000)])
            for p in publishers
        ]
        for thread in threads:
            thread.start()
        for _ in range(4000):
            receive(subscription)
        for thread in threads:
            thread.join()
        assert (None, 0) == (subscription.receive(), subscription.dropped)
