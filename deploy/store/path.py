"""Names of what is in a store: objects by content, trees by manifest. Both sides, Python >= 3.8."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from deploy.unit import canonical

TREE_NAME = re.compile(r"[0-9a-f]{40}-[a-zA-Z0-9_.+-]{1,100}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Entry:
    """A file or a symbolic link of a tree, at `path` (relative, `/`, no `..`).

    A file has `digest` (sha256 of its content, hex), `size` and `executable`; a link has `target`,
    relative and staying inside the tree. Directories are implied; empty ones are not kept.
    """

    path: str
    digest: Optional[str] = None
    size: int = 0
    executable: bool = False
    target: Optional[str] = None


@dataclass(frozen=True)
class Manifest:
    """What a tree consists of. Its `name` is its place in the store: `<hash>-<label>`."""

    label: str
    entries: Tuple[Entry, ...]  # sorted by path

    @property
    def name(self) -> str:
        digest = hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()
        return f"{digest[:40]}-{self.label}"

    @property
    def objects(self) -> Dict[str, int]:
        """Digest -> size of every file's content, each once."""
        return {entry.digest: entry.size for entry in self.entries if entry.digest}

    def to_json(self) -> Dict[str, Any]:
        return {
            "label": self.label,
            "entries": [
                [entry.path, entry.target]
                if entry.target is not None
                else [entry.path, entry.digest, entry.size, entry.executable]
                for entry in self.entries
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Raises KeyError, TypeError or ValueError on anything unsafe or not made by `to_json`:
        absolute paths, `..`, links that leave the tree, one path twice, a path below a file, an
        order that is not that of paths."""
        if not isinstance(data, dict):
            raise TypeError(f"not a manifest: {type(data).__name__!r}")
        entries = []
        for row in data["entries"]:
            if not isinstance(row, list) or len(row) not in (2, 4):
                raise ValueError(f"not an entry: {row!r}")
            entry = Entry(row[0], target=row[1]) if len(row) == 2 else Entry(*row)
            if not isinstance(entry.path, str) or not isinstance(entry.target, (str, type(None))):
                raise TypeError(f"not an entry: {row!r}")
            if len(row) == 2 and entry.target is None:
                raise ValueError(f"a link to nowhere: {row!r}")
            entries.append(entry)
        manifest = cls(label=data["label"], entries=tuple(entries))
        manifest.check()
        return manifest

    def check(self) -> None:
        """Raises ValueError or TypeError unless every entry is safe to create below a folder."""
        if not isinstance(self.label, str) or not TREE_NAME.match(self.name):
            raise ValueError(f"not a label: {self.label!r}")
        seen: set[str] = set()
        leaves = {entry.path for entry in self.entries}
        last = ""
        for entry in self.entries:
            parts = entry.path.split("/")
            if any(part in ("", ".", "..") or "\0" in part for part in parts):
                raise ValueError(f"unsafe path: {entry.path!r}")
            if entry.path in seen:
                raise ValueError(f"one path twice: {entry.path!r}")
            if entry.path < last:
                raise ValueError(f"not sorted: {entry.path!r} after {last!r}")
            seen.add(entry.path)
            last = entry.path
            above = ""
            for part in parts[:-1]:
                above = above + "/" + part if above else part
                if above in leaves:
                    raise ValueError(f"{entry.path!r} lies below the file or link {above!r}")
            if entry.target is not None:
                _check_target(parts, entry)
            elif not isinstance(entry.digest, str) or not DIGEST.match(entry.digest):
                raise ValueError(f"not a digest: {entry.digest!r}")
            elif (
                type(entry.size) is not int or entry.size < 0 or type(entry.executable) is not bool
            ):
                raise ValueError(f"bad size or mode: {entry!r}")


def _check_target(parts: Any, entry: Entry) -> None:
    depth = len(parts) - 1
    target = entry.target or ""
    if not target or target.startswith("/") or "\0" in target:
        raise ValueError(f"unsafe link: {entry.path!r} -> {target!r}")
    down = False
    for part in target.split("/"):
        depth += -1 if part == ".." else 0
        # `..` after a name could be that of another link, and lead anywhere.
        if depth < 0 or (down and part == ".."):
            raise ValueError(f"link leaves its tree: {entry.path!r} -> {target!r}")
        down = down or part not in ("", ".", "..")
