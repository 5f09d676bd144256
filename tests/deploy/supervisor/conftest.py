"""Fixtures of the supervisor's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.supervisor.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine without a supervisor; everything on it ends with the test."""
    machine = Machine()
    try:
        yield machine
    finally:
        machine.close()
