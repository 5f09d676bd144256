"""The store on disk: its layout, and that nothing half-made is ever seen."""

from __future__ import annotations

import codecs
import errno
import fcntl
import multiprocessing
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, List

import pytest

from deploy.store.base import Incoming, copy
from deploy.store.collect import Collected, collect
from deploy.store.local import LocalStore
from deploy.store.path import Entry, Manifest
from tests.deploy.store.suite import StoreSuite, digest, filled, incoming, manifest


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(str(tmp_path / "root"))


def everything_below(folder: Path) -> List[str]:
    return sorted(
        os.path.relpath(os.path.join(at, name), folder)
        for at, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )


def temporary_names(root: Path) -> List[str]:
    return [name for name in everything_below(root) if ".incoming-" in name]


def verify(store: LocalStore) -> None:
    """Every object and every tree that can be seen is whole."""
    for each in store.objects():
        with store.open_object(each) as content:
            assert each == digest(content.read())
    for name in store.trees():
        for entry in store.manifest(name).entries:
            path = os.path.join(store.tree_path(name), entry.path)
            assert entry.digest == digest(Path(path).read_bytes())


def test_tree_is_made_of_read_only_links_of_constant_age(tmp_path: Path) -> None:
    """Files are links to objects; nothing in a tree can be written; times never change."""
    store = LocalStore(str(tmp_path))
    files = {"bin/run": b"#!", "lib/data": b"data"}
    tree = manifest("code", files, executable=["bin/run"])
    copy(filled(files), [tree], store)
    folder = Path(store.tree_path(tree.name))
    assert tmp_path / "store/trees" / tree.name == folder
    modes = {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
    }
    assert {"bin": 0o555, "bin/run": 0o555, "lib": 0o555, "lib/data": 0o444} == modes
    assert {1} == {int(path.stat().st_mtime) for path in (folder, *folder.rglob("*"))}
    data = digest(b"data")
    assert (folder / "lib/data").samefile(tmp_path / "store/objects" / data[:2] / data)


def test_content_is_stored_once_for_all_trees(tmp_path: Path) -> None:
    """Two trees with one wheel have one file between them."""
    store = LocalStore(str(tmp_path))
    first, second = {"a": b"wheel"}, {"b": b"wheel", "c": b"own"}
    copy(filled(first, second), [manifest("x", first), manifest("y", second)], store)
    one = Path(store.tree_path(manifest("x", first).name), "a")
    assert one.samefile(Path(store.tree_path(manifest("y", second).name), "b"))


def test_executable_and_plain_of_one_content_are_two_files(tmp_path: Path) -> None:
    """A mode belongs to one tree; the other tree is not touched."""
    store = LocalStore(str(tmp_path))
    store.put_objects([incoming(b"both", executable=True)])
    tree = manifest("code", {"plain": b"both", "run": b"both"}, executable=["run"])
    store.put_tree(tree)
    folder = Path(store.tree_path(tree.name))
    assert [0o444, 0o555] == [
        stat.S_IMODE((folder / name).stat().st_mode) for name in ("plain", "run")
    ]


def test_links_of_a_tree_are_links(tmp_path: Path) -> None:
    """A link points where the manifest says."""
    store = LocalStore(str(tmp_path))
    store.put_objects([incoming(b"1")])
    tree = Manifest(
        "l", (Entry("lib.so", target="v/lib.so.1"), Entry("v/lib.so.1", digest(b"1"), 1))
    )
    store.put_tree(tree)
    assert b"1" == Path(store.tree_path(tree.name), "lib.so").read_bytes()


def test_too_many_links_are_survived(tmp_path: Path) -> None:
    """Where the filesystem allows no more links, a new file takes over the object's name."""
    left = 2

    def link(source: str, path: str) -> None:
        nonlocal left
        if left == 0 and os.stat(source).st_nlink > 1:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source)
        left -= 1 if left else 0
        os.link(source, path)

    store = LocalStore(str(tmp_path), link=link)
    files = {str(number): b"" for number in range(4)}
    tree = manifest("empty", files)
    assert 0 == copy(filled(files), [tree], store)
    folder = Path(store.tree_path(tree.name))
    assert ["0", "1", "2", "3"] == sorted(os.listdir(folder))
    assert len({(folder / name).stat().st_ino for name in files}) > 1
    assert {0o444} == {stat.S_IMODE((folder / name).stat().st_mode) for name in files}


def test_leavings_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    """A temporary folder belongs to who holds its lock."""
    LocalStore(str(tmp_path)).put_objects([incoming(b"x")])
    objects = tmp_path / "store/objects"
    for name in ("dead", "alive"):
        (objects / f".incoming-{name}").mkdir()
        (objects / f".incoming-{name}/0").write_bytes(b"half")
    alive = os.open(objects / ".incoming-alive", os.O_RDONLY)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        LocalStore(str(tmp_path)).put_objects([incoming(b"y")])
    finally:
        os.close(alive)
    assert ["store/objects/.incoming-alive", "store/objects/.incoming-alive/0"] == (
        temporary_names(tmp_path)
    )


def test_failure_leaves_no_temporary_files(tmp_path: Path) -> None:
    """Also a refused object is tidied away at once."""
    store = LocalStore(str(tmp_path))
    with pytest.raises(ValueError, match="content of"):
        store.put_objects([Incoming(digest(b"1"), 1, False, [b"2"])])
    assert [] == temporary_names(tmp_path)


def test_altered_manifest_is_noticed(tmp_path: Path) -> None:
    """A manifest that does not have its tree's name is not believed."""
    store = LocalStore(str(tmp_path))
    one, two = Manifest("one", ()), Manifest("two", ())
    store.put_tree(one)
    store.put_tree(two)
    shutil.copy(store.tree_path(one.name) + ".json", tmp_path / "copy")
    os.replace(tmp_path / "copy", store.tree_path(two.name) + ".json")
    with pytest.raises(ValueError, match="altered"):
        store.manifest(two.name)


def test_three_thousand_small_files(tmp_path: Path) -> None:
    """A large tree of small files goes in whole, and out again without a trace."""
    files = {f"{number % 50}/{number}.py": str(number).encode() for number in range(3000)}
    store = LocalStore(str(tmp_path))
    tree = manifest("many", files)
    assert sum(map(len, files.values())) == copy(filled(files), [tree], store)
    verify(store)
    assert Collected(1, 3000, sum(map(len, files.values()))) == collect(store)
    assert [] == os.listdir(tmp_path / "store/trees")


def _put_same(root: str, number: int) -> None:
    files = {f"f{each}": b"shared" * each for each in range(200)}
    files["own"] = str(number).encode()
    copy(filled(files), [manifest("own", files)], LocalStore(root))
    del files["own"]
    copy(filled(files), [manifest("same", files)], LocalStore(root))


def test_concurrent_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Several processes put the same objects and the same tree at once."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_same, args=(str(tmp_path), n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [0] * 4 == [writer.exitcode for writer in writers]
    store = LocalStore(str(tmp_path))
    assert 5 == len(store.trees())
    verify(store)
    assert [] == temporary_names(tmp_path)


def test_ordinary_user_can_fill_and_empty_a_store() -> None:
    """Read-only folders are renamed and removed without root's rights."""
    codecs.lookup("ascii")  # the user may not be allowed to read where this Python lies
    folder = tempfile.mkdtemp(dir="/tmp")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.chown(folder, 65534, 65534)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            store = LocalStore(folder)
            files = {"a/b/c": b"1", "a/d": b"2"}
            tree = manifest("x", files)
            copy(filled(files), [tree], store)
            verify(store)
            done = collect(store)
            status = 0 if done == Collected(1, 2, 2) and not store.trees() else 2
        finally:
            os._exit(status)
    try:
        assert 0 == os.waitpid(child, 0)[1]
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 4 MB."""
    assert os.geteuid() == 0, "run this test as root: it mounts a small filesystem"
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_leaves_what_was_there_and_can_be_emptied(small_disk: Path) -> None:
    """No space: the old tree stays whole, nothing half-made is seen, and a retry completes."""
    store = LocalStore(str(small_disk))
    old = {"a": b"old" * 100_000}
    copy(filled(old), [manifest("old", old)], store)
    new = {str(number): bytes([number]) * 500_000 for number in range(12)}
    tree = manifest("new", new)
    with pytest.raises(OSError, match="No space left"):
        copy(filled(new), [tree], store)
    assert [manifest("old", old).name] == store.trees()
    verify(store)
    assert [] == temporary_names(small_disk)
    before = len(store.missing_objects(tree.objects))
    assert 0 < before < 12
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert before * 500_000 == copy(filled(new), [tree], store)
    verify(store)


def test_collection_needs_no_space(small_disk: Path) -> None:
    """A disk without a free byte can still be cleaned."""
    store = LocalStore(str(small_disk))
    files = {"a": b"x" * 1_000_000}
    copy(filled(files), [manifest("x", files)], store)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(8_000_000))
    assert Collected(1, 1, 1_000_000) == collect(LocalStore(str(small_disk)))
    assert [] == store.trees()
