"""Replicas that share an input over shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.shm.layer import ShmLayer
from tests.dora.communication.sharing import Make, SharingSuite


class TestSharingOverSharedMemory(SharingSuite):
    @pytest.fixture
    def layer(self, tmp_path: Path) -> Iterator[Make]:
        layers = []

        def make(node: str) -> ShmLayer:
            layers.append(ShmLayer(str(tmp_path), node=node))
            return layers[-1]

        yield make
        for one in reversed(layers):
            one.close()
