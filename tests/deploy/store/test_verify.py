"""Damage of every kind is found, and removing it makes the next copy complete again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.store.base import copy
from deploy.store.local import LocalStore
from deploy.store.path import Entry, Manifest
from deploy.store.remote import RemoteStore
from deploy.store.verify import Verified, repair, verify
from tests.deploy.store.channel import Machine
from tests.deploy.store.suite import digest, filled, manifest

ONE, TWO = {"a": b"both", "d/b": b"one"}, {"a": b"both", "b": b"two"}


def nobody(count: int) -> None:
    """Nobody asks how far it is."""


def trees() -> list[Manifest]:
    with_link = manifest("x", ONE)
    entries = sorted([*with_link.entries, Entry("link", target="d/b")], key=lambda it: it.path)
    return [Manifest("x", tuple(entries)), manifest("x", TWO)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(str(tmp_path))
    copy(filled(ONE, TWO), trees(), store)
    return store


def change(path: str, content: bytes) -> None:
    os.chmod(path, 0o600)
    Path(path).write_bytes(content)
    os.chmod(path, 0o444)


def writable(path: str) -> str:
    os.chmod(os.path.dirname(path), 0o700)
    return path


def test_a_sound_store_is_read_once(store: LocalStore) -> None:
    """However many trees have a file."""
    size = sum(map(len, {*ONE.values(), *TWO.values()}))
    assert Verified(3, 2, size, (), {}) == verify(store, nobody)


def bit_rot(tree: str, path: str) -> None:
    change(path, b"One")


def gone(tree: str, path: str) -> None:
    os.unlink(writable(path))


def another_mode(tree: str, path: str) -> None:
    os.chmod(path, 0o555)


def something_else(tree: str, path: str) -> None:
    os.unlink(writable(path))
    os.mkdir(path)


def another_link(tree: str, path: str) -> None:
    os.unlink(writable(f"{tree}/link"))
    os.symlink("a", f"{tree}/link")


def too_much(tree: str, path: str) -> None:
    Path(writable(f"{tree}/c")).write_bytes(b"")


def a_cut_manifest(tree: str, path: str) -> None:
    os.truncate(f"{tree}.json", 20)


def no_manifest(tree: str, path: str) -> None:
    os.unlink(f"{tree}.json")


@pytest.mark.parametrize(
    ("damage", "objects"),
    [
        (bit_rot, [digest(b"one")]),
        (gone, []),
        (another_mode, [digest(b"one")]),
        (something_else, []),
        (another_link, []),
        (too_much, []),
        (a_cut_manifest, []),
        (no_manifest, []),
    ],
)
def test_damage_is_found_and_removed_and_comes_again(
    store: LocalStore, damage: Callable[[str, str], None], objects: list[str]
) -> None:
    """Only the tree that has it; the other stays."""
    first, second = (it.name for it in trees())
    tree = store.tree_path(first)
    damage(tree, f"{tree}/d/b")
    found = verify(store, nobody)
    assert ([first], objects) == (list(found.damaged_trees), list(found.damaged_objects))
    assert found == repair(store, nobody)
    assert ([second], True) == (store.trees(), verify(store, nobody).sound)
    copy(filled(ONE, TWO), trees(), store)
    assert verify(store, nobody).sound
    assert {first, second} == set(store.trees())


async def test_a_machines_store_is_verified_from_afar(tmp_path: Path, store: LocalStore) -> None:
    """Found without being touched, then removed; progress is told in bytes."""
    change(store.object_paths(digest(b"both"))[0][0], b"rot")
    remote = RemoteStore("m", Machine(tmp_path).open_verb)
    found = await remote.verify()
    assert (digest(b"both"),) == found.damaged_objects
    assert {it.name for it in trees()} == set(found.damaged_trees)
    assert found == await remote.verify(repair=True)
    assert Verified(2, 0, 6, (), {}) == await remote.verify()
