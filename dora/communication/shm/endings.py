"""Which routes have ended, for readers that start when their producer has gone. Node (>= 3.10).

A producer notes in `<folder>/<node>.ended` who it is, and which of its routes it has finished; its
next start begins anew. So readers see also that one was killed which nobody starts again. It counts
only within one generation of the deployment: a reader that is started together with its producer
must not be told of that one's past.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dora.protocol.comeback import ALWAYS, comes_back
from dora.protocol.process import identity, is_alive

_SUFFIX = ".ended"


@dataclass(frozen=True)
class Ending:
    """Of a route; `killed`: of its producer `process`, too, which said nothing."""

    process: str
    killed: bool


@dataclass(frozen=True)
class _Note:
    generation: str
    process: str
    returns: int = ALWAYS
    routes: tuple[str, ...] = ()


class Endings:
    """`document` is a file that every generation replaces; without it nothing is told."""

    def __init__(
        self,
        folder: str,
        document: Path | None,
        is_alive: Callable[[str], bool] = is_alive,
    ) -> None:
        self._folder = Path(folder)
        self._document = document
        self._is_alive = is_alive
        self._begun: dict[
            str, int
        ] = {}  # nodes that this process is, and from when on each returns

    def begin(self, node: str, returns: int) -> None:
        """The node runs, as this process. See `protocol.comeback` for `returns`.

        Raises OSError if the folder cannot be written to.
        """
        if node in self._begun:
            return
        self._begun[node] = returns
        self._path(node).unlink(missing_ok=True)
        self._write(node, set())

    def add(self, node: str, route: str) -> None:
        """Raises OSError as `begin`."""
        note = self._read(node)
        self._write(node, {route, *(note.routes if note is not None else ())})

    def forget(self) -> None:
        """This process was asked to leave: nothing can be told of what comes next."""
        for node in self._begun:
            self._path(node).unlink(missing_ok=True)

    def find(self, node: str, route: str) -> Ending | None:
        """None as long as the route may be open."""
        note = self._read(node)
        if note is None:
            return None
        if route in note.routes:
            return Ending(note.process, killed=False)
        if comes_back(note.returns) or self._is_alive(note.process):
            return None
        return Ending(note.process, killed=True)

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

    def _write(self, node: str, routes: set[str]) -> None:
        generation = self._generation()
        if generation is None:
            return
        returns = self._begun.get(node, ALWAYS)
        note = _Note(generation, identity(), returns, tuple(sorted(routes)))
        path = self._path(node)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        aside.write_text(json.dumps(asdict(note)))
        os.replace(aside, path)

    def _read(self, node: str) -> _Note | None:
        """Of this generation. None if there is none, or if it is damaged: nothing is known then."""
        try:
            data = json.loads(self._path(node).read_text())
            note = _Note(
                data["generation"], data["process"], int(data["returns"]), tuple(data["routes"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return note if note.generation == self._generation() else None
