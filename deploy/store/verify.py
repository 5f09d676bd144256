"""Whether a store holds what its names say. Runs on the machine; standard library, Python >= 3.8.

Each file is read once, however many trees it is in. Whoever repairs only removes: what is missing
is sent again by the next deployment.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from deploy.store.base import chunks
from deploy.store.local import LocalStore
from deploy.store.path import Entry, Manifest

EXECUTABLE = 0o111


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what of it is damaged: digests, and trees' names with the reason.
    `bytes` were read."""

    objects: int
    trees: int
    bytes: int
    damaged_objects: Tuple[str, ...]
    damaged_trees: Mapping[str, str]

    @property
    def sound(self) -> bool:
        return not self.damaged_objects and not self.damaged_trees

    def to_json(self) -> Dict[str, Any]:
        return {
            "objects": self.objects,
            "trees": self.trees,
            "bytes": self.bytes,
            "damaged_objects": list(self.damaged_objects),
            "damaged_trees": dict(self.damaged_trees),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verified:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        return cls(
            objects=int(data["objects"]),
            trees=int(data["trees"]),
            bytes=int(data["bytes"]),
            damaged_objects=tuple(str(digest) for digest in data["damaged_objects"]),
            damaged_trees={str(name): str(why) for name, why in data["damaged_trees"].items()},
        )


class _Reader:
    """Digests of files, each read once."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._known: Dict[Tuple[int, int], str] = {}
        self._report = report
        self.bytes = 0

    def digest(self, path: str) -> str:
        """Raises OSError."""
        found = os.lstat(path)
        key = (found.st_dev, found.st_ino)
        if key not in self._known:
            content = hashlib.sha256()
            with open(path, "rb") as file:
                for chunk in chunks(file):
                    content.update(chunk)
                    self.bytes += len(chunk)
                    self._report(self.bytes)
            self._known[key] = content.hexdigest()
        return self._known[key]


def verify(store: LocalStore, report: Callable[[int], None]) -> Verified:
    """Reads everything. `report` hears how many bytes were read."""
    with store.writing():
        return _verify(store, report)


def repair(store: LocalStore, report: Callable[[int], None]) -> Verified:
    """As `verify`; then what is damaged is removed. Needs no free space.
    Raises BlockingIOError when something is being copied in."""
    with store.collecting():
        found = _verify(store, report)
        for name in found.damaged_trees:
            store.remove_tree(name)
        for digest in found.damaged_objects:
            store.remove_object(digest)
    return found


def _verify(store: LocalStore, report: Callable[[int], None]) -> Verified:
    reader = _Reader(report)
    objects, trees = store.objects(), store.trees()
    damaged = tuple(digest for digest in objects if not _object_is_sound(store, digest, reader))
    wrong = {name: _wrong_with(store, name, reader) for name in trees}
    return Verified(
        objects=len(objects),
        trees=len(trees),
        bytes=reader.bytes,
        damaged_objects=damaged,
        damaged_trees={name: why for name, why in wrong.items() if why is not None},
    )


def _object_is_sound(store: LocalStore, digest: str, reader: _Reader) -> bool:
    try:
        return all(
            reader.digest(path) == digest and _executable(path) == executable
            for path, executable in store.object_paths(digest)
        )
    except OSError:
        return False


def _wrong_with(store: LocalStore, name: str, reader: _Reader) -> Optional[str]:
    """None for a tree that is what its manifest says."""
    try:
        manifest = store.manifest(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its manifest: {error}"
    folder = store.tree_path(name)
    for entry in manifest.entries:
        try:
            wrong = _wrong_with_entry(os.path.join(folder, entry.path), entry, reader)
        except OSError as error:
            wrong = str(error.strerror)
        if wrong is not None:
            return f"{entry.path}: {wrong}"
    return _too_much(folder, manifest)


def _wrong_with_entry(path: str, entry: Entry, reader: _Reader) -> Optional[str]:
    mode = os.lstat(path).st_mode
    if entry.target is not None:
        as_it_should = stat.S_ISLNK(mode) and os.readlink(path) == entry.target
        return None if as_it_should else f"is not a link to {entry.target}"
    if not stat.S_ISREG(mode):
        return "is not a file"
    if _executable(path) != entry.executable:
        return "has another mode"
    return None if reader.digest(path) == entry.digest else "has another content"


def _too_much(folder: str, manifest: Manifest) -> Optional[str]:
    known = {entry.path for entry in manifest.entries}
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in names + links:
            path = os.path.relpath(os.path.join(where, name), folder)
            if path not in known:
                return f"{path}: does not belong there"
    return None


def _executable(path: str) -> bool:
    return bool(os.lstat(path).st_mode & EXECUTABLE)
