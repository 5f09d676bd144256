"""Which saved files ask for a new deployment, and when. Pure; laptop only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from deploy.build.ignore import NEVER

# Editors save by several steps (write, rename, touch); the last one counts.
QUIET = 0.03  # seconds without another change, after which the files are looked at
LONGEST = 0.5  # seconds after which they are looked at however many changes come


class Happened(Enum):
    """What became of a path."""

    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


@dataclass(frozen=True)
class Concerned:
    """The files that a deployment was made of. `folder` is the flow file's; a file that appears or
    goes below it may be one that a pattern names, or that a module imports."""

    flow: Path
    inventory: Path
    folder: Path
    files: frozenset[Path]

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders to watch, without those that lie in another one of them."""
        folders = {self.folder, self.inventory.parent, *(file.parent for file in self.files)}
        return tuple(
            sorted(
                each
                for each in folders
                if not any(each != other and each.is_relative_to(other) for other in folders)
            )
        )

    def asks(self, path: Path, happened: Happened) -> bool:
        """Whether what happened to a file may change what the machines are to run."""
        if path in (self.flow, self.inventory) or path in self.files:
            return True
        if happened is Happened.MODIFIED or not path.is_relative_to(self.folder):
            return False
        parts = path.relative_to(self.folder).parts
        hidden = any(part in NEVER or part.startswith(".") for part in parts)
        leavings = path.suffix in (".pyc", ".swp", ".tmp") or path.name.endswith("~")
        return not hidden and not leavings and path != self.flow.with_suffix(".lock")


class Saves:
    """Collects changes until they have come to rest. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0

    def __repr__(self) -> str:
        return f"<Saves since {self._first}>" if self._first is not None else "<Saves none>"

    def changed(self, now: float) -> None:
        self._last = now
        if self._first is None:
            self._first = now

    def due(self, now: float) -> float | None:
        """Seconds until the files are to be looked at (0: now); None: nothing has changed."""
        if self._first is None:
            return None
        return max(0.0, min(self._last + QUIET, self._first + LONGEST) - now)

    def taken(self) -> None:
        """The files are looked at now; what changes from here on asks anew."""
        self._first = None


def concerned(flow: str, inventory: str, files: Iterable[Path]) -> Concerned:
    """`files` is what was packaged. Paths become absolute, as a watcher names them."""
    path = Path(os.path.abspath(flow))
    machines = Path(os.path.abspath(inventory))
    return Concerned(path, machines, path.parent, frozenset(files))
