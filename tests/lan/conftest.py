"""The LANs that tests ask for: one shared by the session, or a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lan.bench import Lan


@pytest.fixture(scope="session")
def shared_lan() -> Iterator[Lan]:
    """Three robots for the whole session; ask for `lan` instead, which repairs it after a test."""
    with Lan(3) as lan:
        yield lan


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's cache, shared: closures are built once for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def lan(shared_lan: Lan) -> Iterator[Lan]:
    """Three robots, on and linked at the start of every test; their disks keep what tests leave."""
    yield shared_lan
    for i in shared_lan.robots:
        shared_lan.power_on(i)
        shared_lan.heal(i)
        shared_lan.shut(i, None)
        shared_lan.rate(i, None)


@pytest.fixture
def make_lan() -> Iterator[Callable[..., Lan]]:
    """`make_lan(n, sshd={...})` gives a fresh LAN that ends with the test."""
    with ExitStack() as stack:

        def make(n: int, **options: Any) -> Lan:
            return stack.enter_context(Lan(n, **options))

        yield make
