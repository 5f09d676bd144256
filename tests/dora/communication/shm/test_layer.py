"""The layer between processes of one machine, both sides in this one: the suite of all layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.shm.layer import ShmLayer
from tests.dora.communication.suite import LayerSuite, Pair


@pytest.fixture(params=["one layer", "two layers"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    first = ShmLayer(str(tmp_path), chunk=1 << 20)
    second = first if request.param == "one layer" else ShmLayer(str(tmp_path))
    yield first, second
    first.close()
    second.close()


class TestShmLayer(LayerSuite):
    pass
