"""The stat cache: unchanged files are not read, changed ones are."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from deploy.build.digests import Digests

LATER = 10_000_000_000  # nanoseconds


class Clock:
    """A clock that is `ahead` of the files' times."""

    def __init__(self, file: Path, ahead: int) -> None:
        self._file = file
        self._ahead = ahead

    def __call__(self) -> int:
        return max(self._file.stat().st_mtime_ns, self._file.stat().st_ctime_ns) + self._ahead


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """Also the next process knows it: the cache is believed while the stat is the same."""
    file = tmp_path / "file"
    file.write_text("content")
    cache = Digests(tmp_path / "cache/digests", Clock(file, LATER))
    assert sha("content") == cache.digest(file)
    cache.save()
    # A wrong digest in the cache tells remembering from reading.
    with closing(sqlite3.connect(tmp_path / "cache/digests")) as base, base:
        base.execute("update digests set digest = 'remembered'")
    again = Digests(tmp_path / "cache/digests", Clock(file, LATER))
    assert "remembered" == again.digest(file)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    """Size, time or inode: any difference counts, also when the time was set back."""
    file = tmp_path / "file"
    file.write_text("before")
    cache = Digests(tmp_path / "digests", Clock(file, LATER))
    cache.digest(file)
    before = file.stat()
    file.write_text("after!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha("after!") == cache.digest(file)
    (tmp_path / "new").write_text("third!")
    os.replace(tmp_path / "new", file)
    assert sha("third!") == cache.digest(file)


def test_file_of_this_moment_is_not_remembered(tmp_path: Path) -> None:
    """It may be written again within the clock's grain and look the same."""
    file = tmp_path / "file"
    file.write_text("one")
    cache = Digests(tmp_path / "digests", Clock(file, 1))
    cache.digest(file)
    cache.save()
    assert not (tmp_path / "digests").exists()


def test_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    """Nothing but time is lost."""
    file = tmp_path / "file"
    file.write_text("content")
    (tmp_path / "digests").write_bytes(b"not a database" * 100)
    cache = Digests(tmp_path / "digests", Clock(file, LATER))
    assert sha("content") == cache.digest(file)
    cache.save()
    assert sha("content") == Digests(tmp_path / "digests", Clock(file, LATER)).digest(file)


def test_a_cache_that_others_keep_locked_is_done_without(tmp_path: Path) -> None:
    """It is neither removed nor the end of the command, however slow their disk is."""
    file = tmp_path / "file"
    file.write_text("content")
    first = Digests(tmp_path / "digests", Clock(file, LATER))
    first.digest(file)
    first.save()
    with closing(sqlite3.connect(tmp_path / "digests", isolation_level=None)) as base:
        base.execute("begin exclusive")
        cache = Digests(tmp_path / "digests", Clock(file, LATER), patience=0.01)
        assert sha("content") == cache.digest(file)
        cache.save()
        base.execute("update digests set digest = 'remembered'")
        base.execute("commit")
    assert "remembered" == Digests(tmp_path / "digests", Clock(file, LATER)).digest(file)
