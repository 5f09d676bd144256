"""What is kept on disk under keys, in SQLite: durable once written, bounded in size (>= 3.10).

The file is in write-ahead mode and every commit waits for the disk: what `put` has returned from is
there after the process was killed, and after a power cut. Several processes may use one file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dora.errors import DoraError

LONGEST_KEY = 256  # bytes of UTF-8
LARGEST_VALUE = 16 << 20  # bytes
PATIENCE = 10.0  # s to wait for another process that writes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    owner TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, key)
)
"""


class StateError(DoraError):
    """What was to be kept is too large, or the file that keeps it cannot be used. Nothing of it was
    written; what was kept before is still there."""


class Storage:
    """One file; its folder is made if it is missing, both private to the user.

    Keys belong to owners. `limit`: bytes that one owner may keep, keys and values. From any thread.
    Raises StateError where the file cannot be used, TypeError for what is no text or no bytes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<Storage {self._path}>"

    def put(self, owner: str, key: str, value: bytes) -> None:
        """Durable when it returns. Raises StateError, and keeps what was, past a limit."""
        data = _checked(key, value)
        with self._using() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                others = connection.execute(
                    "SELECT coalesce(sum(length(CAST(key AS BLOB)) + length(value)), 0) "
                    "FROM kept WHERE owner = ? AND key <> ?",
                    (owner, key),
                ).fetchone()[0]
                total = others + len(key.encode()) + len(data)
                if total > self._limit:
                    raise StateError(
                        f"{owner or 'the deployment'} would keep {total} bytes with {key!r}, "
                        f"and {self._limit} is the most",
                        hint="keep less: what is large belongs into a file of the node's folder",
                    )
                connection.execute(
                    "INSERT INTO kept VALUES (?, ?, ?) "
                    "ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value",
                    (owner, key, data),
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def get(self, owner: str, key: str) -> bytes | None:
        with self._using() as connection:
            row = connection.execute(
                "SELECT value FROM kept WHERE owner = ? AND key = ?", (owner, key)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def all(self, owner: str) -> Mapping[str, bytes]:
        with self._using() as connection:
            rows = connection.execute(
                "SELECT key, value FROM kept WHERE owner = ? ORDER BY key", (owner,)
            ).fetchall()
        return {key: bytes(value) for key, value in rows}

    def close(self) -> None:
        """May be called twice; what is asked for later opens the file again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self._path)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise StateError(
                    f"{self._path}: {error}",
                    hint="is the disk full, or the file damaged? `dora state clear` removes it",
                ) from error


def _checked(key: str, value: object) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"a key is text, not {type(key).__name__}")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"a value is bytes, not {type(value).__name__}")
    data = bytes(value)
    if not 0 < len(key.encode()) <= LONGEST_KEY:
        raise StateError(
            f"a key has 1 to {LONGEST_KEY} bytes: {key[:40]!r} has {len(key.encode())}"
        )
    if len(data) > LARGEST_VALUE:
        raise StateError(f"{key!r}: {len(data)} bytes are more than {LARGEST_VALUE}")
    return data


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # SQLite sees to the file's contents, not to its name
        finally:
            os.close(folder)
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
