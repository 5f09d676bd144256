"""What people want to know of a tree: its files, or at least its top level. Both sides, >= 3.8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Mapping, Optional

from deploy.store.path import Manifest

MOST_FILES = 2000  # of a tree; of larger ones only the top level is told


@dataclass(frozen=True)
class Outline:
    """`files` maps each path to what tells its content (digest, `x` for executables; or a link's
    target); None for a tree with too many. `top` has the names in the tree's own folder."""

    top: FrozenSet[str]
    files: Optional[Mapping[str, str]] = None

    def to_json(self) -> Dict[str, Any]:
        return {"top": sorted(self.top), "files": None if self.files is None else dict(self.files)}

    @classmethod
    def from_json(cls, data: Any) -> Outline:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        top, files = data["top"], data["files"]
        if not isinstance(top, list) or not isinstance(files, (dict, type(None))):
            raise TypeError("not an outline of a tree")
        if not all(isinstance(it, str) for it in [*top, *(files or {}).values()]):
            raise TypeError("not an outline of a tree")
        return cls(frozenset(top), files)


def outline(manifest: Manifest) -> Outline:
    top = frozenset(entry.path.split("/", 1)[0] for entry in manifest.entries)
    if len(manifest.entries) > MOST_FILES:
        return Outline(top)
    return Outline(
        top,
        {
            it.path: f"-> {it.target}"
            if it.target is not None
            else f"{it.digest}{' x' if it.executable else ''}"
            for it in manifest.entries
        },
    )
