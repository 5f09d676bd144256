"""Where closures are made: the laptop's cache, and the contents that were built. Laptop only."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from deploy.build.digests import Digests
from deploy.deployment import Files, Link
from deploy.errors import BuildError
from deploy.store.base import Objects, copy
from deploy.store.local import LocalStore
from deploy.store.path import Entry, Manifest


class Contents:
    """Implements `deploy.store.base.Objects` for what was built: the user's files are read where
    they lie, the rest is in the cache's store."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._known: dict[str, Path | bytes] = {}

    def __repr__(self) -> str:
        return f"<Contents {len(self._known)} files, {self._store!r}>"

    def open_object(self, digest: str) -> BinaryIO:
        known = self._known.get(digest)
        if isinstance(known, bytes):
            return io.BytesIO(known)
        return self._store.open_object(digest) if known is None else open(known, "rb")

    def add(self, digest: str, content: Path | bytes) -> None:
        self._known.setdefault(digest, content)


class Workshop:
    """What building needs beside the deployment. Nothing is made before it is needed.

    `cache` is a folder of the laptop, `lock` the file that pins the versions of Python packages
    (None: resolve each time). `store` is what the built trees' contents are read from.
    """

    def __init__(self, *, cache: Path, lock: Path | None = None) -> None:
        self.cache = cache
        self.lock = lock
        self.kept = LocalStore(os.fspath(cache))
        self.store = Contents(self.kept)
        self.digests = Digests(cache / "digests.sqlite")

    def tree(self, files: Files) -> Manifest:
        """The manifest of `files`, which stay where they are.
        Raises BuildError for a file that cannot be read or a tree that cannot be."""
        manifest = self._manifest(files, self.digests.digest, self.store.add)
        self.digests.save()
        return manifest

    def keep(self, files: Files) -> Manifest:
        """The same for files that will not stay: they are copied into the cache's store."""
        passing = Contents(self.kept)
        manifest = self._manifest(files, _digest, passing.add)
        copied: Objects = passing
        copy(copied, [manifest], self.kept)
        return manifest

    def _manifest(
        self, files: Files, digest: Callable[[Path], str], add: Callable[[str, Path | bytes], None]
    ) -> Manifest:
        entries = []
        for path, content in sorted(files.entries.items()):
            if isinstance(content, Link):
                entries.append(Entry(path, target=content.target))
                continue
            if isinstance(content, bytes):
                entry = Entry(path, hashlib.sha256(content).hexdigest(), len(content))
            else:
                entry = _entry(path, content, digest)
            entries.append(entry)
            add(entry.digest or "", content)
        manifest = Manifest(files.label, tuple(entries))
        try:
            manifest.check()
        except ValueError as error:
            raise BuildError(f"{files.label}: {error}") from error
        return manifest


def _entry(path: str, file: Path, digest: Callable[[Path], str]) -> Entry:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BuildError(f"{file} is not a file, and only files and links can be deployed")
        return Entry(path, digest(file), status.st_size, bool(status.st_mode & stat.S_IXUSR))
    except OSError as error:
        raise BuildError(f"{file} cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
