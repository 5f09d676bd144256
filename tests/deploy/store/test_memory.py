"""The fake keeps the promises of the real store."""

from __future__ import annotations

import pytest

from deploy.store.memory import MemoryStore
from tests.deploy.store.suite import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
