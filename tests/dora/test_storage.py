"""What is kept on disk: durable, private, bounded, shared between processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from dora.kvs import Kvs
from dora.storage import LARGEST_VALUE, LONGEST_KEY, StateError, Storage

LIMIT = 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "it.sqlite"


def test_what_was_put_is_there_for_its_owner_alone(path: Path) -> None:
    """Also for another object on the same file; owners do not see each other's keys."""
    storage = Storage(path, LIMIT)
    storage.put("a", "k", b"1")
    storage.put("a", "k", b"2")
    storage.put("b", "k", b"\x00\xff")
    storage.close()

    again = Storage(path, LIMIT)

    assert {"k": b"2"} == again.all("a")
    assert b"\x00\xff" == again.get("b", "k")
    assert again.get("c", "k") is None
    again.close()


def test_the_file_is_private(path: Path) -> None:
    """0600 in a folder of 0700, and so are the files that SQLite puts beside it."""
    storage = Storage(path, LIMIT)
    storage.put("a", "k", b"1")
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    modes = {it.name: stat.S_IMODE(it.stat().st_mode) for it in path.parent.iterdir()}
    assert {0o600} == set(modes.values()), modes
    storage.close()


def test_limits_refuse_and_keep_what_was(path: Path) -> None:
    """An owner's total, a value's and a key's size; other owners have limits of their own."""
    storage = Storage(path, LIMIT)
    storage.put("a", "k", b"x" * 9_000)
    with pytest.raises(StateError, match="would keep 11003 bytes with 'k2', and 10000 is the most"):
        storage.put("a", "k2", b"x" * 2_000)
    storage.put("a", "k", b"x" * 9_500)  # in place of the old value, not beside it
    storage.put("b", "k", b"x" * 9_000)
    with pytest.raises(StateError, match=f"more than {LARGEST_VALUE}"):
        storage.put("a", "k", bytes(LARGEST_VALUE + 1))
    for key in ("", "x" * (LONGEST_KEY + 1)):
        with pytest.raises(StateError, match="a key has 1 to"):
            storage.put("a", key, b"")
    with pytest.raises(TypeError, match="a value is bytes, not str"):
        storage.put("a", "k", "text")  # type: ignore[arg-type]
    assert ["k"] == list(storage.all("a"))
    storage.close()


def test_a_damaged_file_is_told_and_kept(path: Path) -> None:
    """What is wrong and where; the file is not touched."""
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    storage = Storage(path, LIMIT)
    with pytest.raises(StateError, match=r"it\.sqlite: file is not a database"):
        storage.put("a", "k", b"1")
    assert path.read_bytes() == b"no database" * 100
    storage.close()


WRITER = """
    import sys
    from pathlib import Path
    from dora.storage import Storage
    storage = Storage(Path(sys.argv[1]), 1 << 20)
    number = int(storage.get("a", "n") or b"0")
    while True:
        number += 1
        storage.put("a", "n", str(number).encode())
        print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    """A writer is killed at any moment, again and again: its last word is never ahead of the file,
    and the file is at most one step ahead of its last word."""
    for round_ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", dedent(WRITER), str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(1 + round_ % 3)]
        os.kill(writer.pid, signal.SIGKILL)
        said += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        writer.stdout.close()
        last = int(next(line for line in reversed(said) if line.endswith("\n")))
        storage = Storage(path, 1 << 20)
        assert int(storage.get("a", "n") or b"0") in (last, last + 1)
        storage.close()


def test_two_processes_write_to_one_file(path: Path) -> None:
    """Neither loses a word: writers wait for each other."""
    program = """
        import sys
        from dora.kvs import Kvs
        kvs = Kvs(sys.argv[1])
        for number in range(50):
            kvs.write(f"{sys.argv[2]}{number}", b"x")
    """
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", dedent(program), str(path.parent), name],
            cwd=Path(__file__).parents[2],
        )
        for name in "ab"
    ]
    assert [0, 0] == [writer.wait(60) for writer in writers]
    kvs = Kvs(str(path.parent))
    assert all(kvs.read(f"{name}{number}") == b"x" for name in "ab" for number in range(50))
    kvs.close()
