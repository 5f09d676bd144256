"""The fleets that stories are told about; each ends with nothing left running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet, processes_below

EMBEDDED = "machines:\n  base: {host: embedded}\n  rover: {host: embedded}\n"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's cache, shared: closures are built once for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def embedded(tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """Two embedded machines, `base` and `rover`, in a home of their own."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(EMBEDDED)
    home = tmp_path / "home"
    home.mkdir()
    shm = set(os.listdir("/dev/shm"))
    fleet = Fleet(home, inventory, cache=cache)
    yield fleet
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)
    assert {} == processes_below(home)
    assert set() == set(os.listdir("/dev/shm")) - shm
