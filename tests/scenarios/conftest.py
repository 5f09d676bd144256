"""The fleets that stories are told about; each ends with nothing left running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet

EMBEDDED = "machines:\n  base: {host: embedded}\n  rover: {host: embedded}\n"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's cache, shared: closures are built once for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's home folder, with the disks of the embedded machines in it: what one story
    copied there, the next need not copy again."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def embedded(home: Path, cache: Path, tmp_path: Path) -> Iterator[Fleet]:
    """Two embedded machines, `base` and `rover`, on which nothing runs."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(EMBEDDED)
    shm = set(os.listdir("/dev/shm"))
    fleet = Fleet(home, inventory, cache=cache)
    yield fleet
    inventory.write_text(EMBEDDED)  # whatever the story made of it
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)
    fleet.assert_nothing_is_left()
    assert set() == set(os.listdir("/dev/shm")) - shm
