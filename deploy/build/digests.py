"""Digests of the user's files, remembered while their stat does not change. Laptop only.

A rebuild of a gigabyte that did not change reads none of it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

# A file that was written again within the clock's grain looks unchanged (as git's "racy" files do).
GRAIN = 2_000_000_000  # nanoseconds; the coarsest that is in use, FAT's
TABLE = """create table if not exists digests
    (path text primary key, size integer, mtime integer, ctime integer, inode integer, digest text)
    without rowid"""

Stamp = tuple[int, int, int, int]


class Digests:
    """Path -> sha256, kept in one file. A file that is damaged is begun anew. While others keep it
    locked it is waited for, `patience` seconds at most."""

    def __init__(
        self, file: Path, clock: Callable[[], int] = time.time_ns, patience: float = 10.0
    ) -> None:
        self._file = file
        self._patience = patience
        self._clock = clock
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._fresh: dict[str, tuple[Stamp, str]] = {}
        self._loaded = False

    def digest(self, path: Path) -> str:
        """The sha256 of a file's content, hex. Raises OSError."""
        self._load()
        name = os.path.abspath(path)
        with open(name, "rb") as file:
            before = os.fstat(file.fileno())
            stamp = (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino)
            known = self._known.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self._clock() - max(before.st_mtime_ns, before.st_ctime_ns) > GRAIN:
            self._known[name] = self._fresh[name] = (stamp, digest)
        return digest

    def save(self) -> None:
        """Keeps what was learned for the next process; not if the file stays locked, as nothing but
        time is lost then."""
        if not self._fresh:
            return
        rows = [(name, *stamp, digest) for name, (stamp, digest) in self._fresh.items()]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._file, timeout=self._patience)) as base, base:
                base.execute(TABLE)
                base.executemany("insert or replace into digests values (?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.OperationalError as error:
            if not _busy(error):
                raise
        self._fresh.clear()

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if not self._file.exists():
            return
        try:
            with closing(sqlite3.connect(self._file, timeout=self._patience)) as base:
                for name, size, mtime, ctime, inode, digest in base.execute(
                    "select path, size, mtime, ctime, inode, digest from digests"
                ):
                    self._known[name] = ((size, mtime, ctime, inode), digest)
        except sqlite3.DatabaseError as error:
            # Nothing but time is lost with it; one that others write to is not damaged.
            if not _busy(error):
                self._file.unlink(missing_ok=True)


def _busy(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
