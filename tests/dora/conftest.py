"""What tests of nodes stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dora.harness import Playground, playground


@pytest.fixture(params=["zenoh", "shm"])
def area(request: pytest.FixtureRequest) -> Iterator[Playground]:
    """A machine with a router; and one without, where shared memory does for all."""
    with playground() as area:
        area.layer = request.param
        if area.layer == "zenoh":
            area.router()
        yield area
