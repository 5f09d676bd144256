"""The lock file: what was resolved once stays, readable and mergeable."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.build.lock import Key, read_lock, write_lock
from deploy.errors import BuildError

ONE = Key("x86_64-manylinux_2_36", "3.11", ("numpy",))
TWO = Key("aarch64-manylinux_2_35", "3.12", ("numpy", "a.whl@sha256:1"), ("b<2",), ("https://x",))
PINS = {"numpy==2.1.0": ("aa", "bb")}


def test_entries_come_back(tmp_path: Path) -> None:
    """What is written is read; entries of others stay."""
    file = tmp_path / "flow.lock"
    assert {} == read_lock(file)
    write_lock(file, {ONE: PINS})
    write_lock(file, {TWO: {"b==1": ()}})
    assert {ONE: PINS, TWO: {"b==1": ()}} == read_lock(file)


def test_text_does_not_depend_on_the_order_of_writing(tmp_path: Path) -> None:
    """Two laptops write the same file."""
    write_lock(tmp_path / "a", {ONE: PINS})
    write_lock(tmp_path / "a", {TWO: PINS})
    write_lock(tmp_path / "b", {TWO: PINS, ONE: PINS})
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    assert ["a", "b"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "<<<<<<< HEAD",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "environments": [{"platform": 1}]}',
    ],
)
def test_what_is_no_lock_is_not_overwritten(tmp_path: Path, text: str) -> None:
    """A merge conflict, say: it is told, and left as it is."""
    file = tmp_path / "flow.lock"
    file.write_text(text)
    with pytest.raises(BuildError, match=r"flow\.lock") as failure:
        write_lock(file, {ONE: PINS})
    assert "remove" in str(failure.value.hint)
    assert text == file.read_text()


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The reason is in the message."""
    with pytest.raises(BuildError, match="cannot be written"):
        write_lock(tmp_path / "nowhere/flow.lock", {ONE: PINS})
