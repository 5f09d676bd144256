"""Which routes have ended, for readers that start when their producer has gone. Node (>= 3.10).

A producer that finishes leaves `<folder>/<node>.ended`; its next start takes that away. It counts
only within one generation of the deployment: a reader that is started together with its producer
must not be told of that one's past.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_SUFFIX = ".ended"


class Endings:
    """`document` is a file that every generation replaces; without it nothing is told."""

    def __init__(self, folder: str, document: Path | None) -> None:
        self._folder = Path(folder)
        self._document = document

    def add(self, node: str, route: str) -> None:
        """Raises OSError if the folder cannot be written to."""
        generation = self._generation()
        if generation is None:
            return
        path = self._path(node)
        routes = self._read(path, generation) | {route}
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        aside.write_text(json.dumps({"generation": generation, "routes": sorted(routes)}))
        os.replace(aside, path)

    def clear(self, node: str) -> None:
        """The node runs again."""
        if self._document is not None:
            self._path(node).unlink(missing_ok=True)

    def has(self, node: str, route: str) -> bool:
        generation = self._generation()
        return generation is not None and route in self._read(self._path(node), generation)

    @property
    def known(self) -> bool:
        return self._document is not None

    def _path(self, node: str) -> Path:
        return self._folder / (node + _SUFFIX)

    def _generation(self) -> str | None:
        if self._document is None:
            return None
        try:
            status = self._document.stat()
        except OSError:
            return None
        return f"{status.st_ino}.{status.st_mtime_ns}"

    @staticmethod
    def _read(path: Path, generation: str) -> set[str]:
        try:
            data = json.loads(path.read_text())
            return set(data["routes"]) if data["generation"] == generation else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()  # none, or damaged: nothing is known then
