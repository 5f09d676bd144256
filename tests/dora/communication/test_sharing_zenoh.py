"""Replicas that share an input over zenoh, through a real router."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from dora.communication.presence import Presence
from dora.communication.zenoh.layer import ZenohLayer
from tests.dora.communication.sharing import ROUTE, Make, Replica, SharingSuite, T, meet, work_until
from tests.dora.harness import Playground, playground


@pytest.fixture(scope="module")
def area() -> Iterator[Playground]:
    with playground() as area:
        area.router()
        yield area


class TestSharingOverZenoh(SharingSuite):
    options: ClassVar[dict[str, Any]] = {"shared": True}

    @pytest.fixture
    def layer(self, area: Playground) -> Iterator[Make]:
        layers = []

        def make(node: str) -> ZenohLayer:
            layers.append(ZenohLayer(area.socket()))
            return layers[-1]

        yield make
        for one in reversed(layers):
            one.close()

    def announced(self, layer: Any, node: str) -> Any:
        self._presence = Presence(layer.session, "flow", node)
        self._presence.announce()
        return layer

    def test_backpressure_loses_nothing(self, layer: Make) -> None:
        """The sender waits while all replicas have enough."""
        publisher = layer("node").publish(ROUTE, **self.options)
        replicas = [Replica(layer, number, "backpressure", 4) for number in (1, 2)]
        sent = []
        meet(publisher, *replicas)

        def send() -> None:
            for number in range(200):
                publisher.send(b"x", {"n": number, "key": number % 3}, T)
                sent.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.3)
        held = len(sent)
        work_until(replicas, 200)
        thread.join(30)
        assert held < 30
        assert list(range(200)) == sorted(n for it in replicas for _, n in it.got)
        assert [0, 0] == [it.subscription.dropped for it in replicas]
