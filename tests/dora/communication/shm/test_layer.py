"""The layer between processes of one machine, both sides in this one: the suite of all layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.shm.layer import ShmLayer
from tests.dora.communication.suite import ROUTE, LayerSuite, Pair, numbers, send_numbers


@pytest.fixture(params=["one layer", "two layers"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    first = ShmLayer(str(tmp_path), chunk=1 << 20)
    second = first if request.param == "one layer" else ShmLayer(str(tmp_path))
    yield first, second
    first.close()
    second.close()


class TestShmLayer(LayerSuite):
    """The suite, and what else can be told with both sides at hand."""


@pytest.mark.parametrize("publisher_first", [True, False])
def test_who_reads_itself_misses_nothing(tmp_path: Path, publisher_first: bool) -> None:
    """Nobody else would wait for such a reader; and it does not wait for itself."""
    layer = ShmLayer(str(tmp_path), chunk=1 << 20)
    try:
        if publisher_first:
            publisher = layer.publish(ROUTE)
        subscriptions = [layer.subscribe(ROUTE, 3, "backpressure") for _ in range(2)]
        if not publisher_first:
            publisher = layer.publish(ROUTE)
        send_numbers(publisher, range(100))
        for subscription in subscriptions:
            assert list(range(100)) == numbers(subscription, 100)
    finally:
        layer.close()
