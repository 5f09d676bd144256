"""Whether files that a program was loaded from are still as they were. Laptop only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import deploy
import dora

GRAIN = 50_000_000  # nanoseconds by which the times of files may lag


class Sources:
    """What each of them was when we looked first; None for one that was not there."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen = {path: _look(path) for path in paths}

    @classmethod
    def of_this_program(cls) -> Sources:
        """Of all modules that are loaded, and of ours that may be, or that go to machines."""
        loaded = (getattr(module, "__file__", None) for module in tuple(sys.modules.values()))
        ours = (
            str(path)
            for package in (deploy, dora)
            for path in Path(str(package.__file__)).parent.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        return cls({*(path for path in loaded if path), *ours, sys.executable})

    @property
    def unchanged(self) -> bool:
        return all(_look(path) == seen for path, seen in self._seen.items())

    def older_than(self, moment: int) -> bool:
        """Whether none was written or put in place since (nanoseconds of the system's clock)."""
        return all(seen is None or seen[1] < moment - GRAIN for seen in self._seen.values())


def _look(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
