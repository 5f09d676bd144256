"""The fleets that stories are told about; each ends with nothing left running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet, wait_until

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


def abandoned_memory() -> set[str]:
    """Files in /dev/shm that no process has in use: other tests, which run beside these, have
    theirs."""
    named = {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")}
    used = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                held = [os.readlink(it) for it in (process / "fd").iterdir()]
                maps = (process / "maps").read_text(errors="replace").splitlines()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is none of ours
            used |= {*held, *(line.split(maxsplit=5)[-1] for line in maps)}
    return {it for it in named - used if os.path.exists(it)}


@pytest.fixture
def embedded(home: Path, cache: Path, tmp_path: Path) -> Iterator[Fleet]:
    """Two embedded machines, `base` and `rover`, on which nothing runs."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(EMBEDDED)
    shm = abandoned_memory()
    fleet = Fleet(home, inventory, cache=cache)
    yield fleet
    inventory.write_text(EMBEDDED)  # whatever the story made of it
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)
    fleet.assert_nothing_is_left()
    wait_until(lambda: abandoned_memory() <= shm, "no memory is left behind")
