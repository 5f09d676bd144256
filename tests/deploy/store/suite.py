"""What every store promises: one suite for the real one and the fake."""

from __future__ import annotations

import hashlib
from typing import Dict, Iterable, Iterator

import pytest

from deploy.store.base import Incoming, MissingObjects, Store, copy
from deploy.store.memory import MemoryStore
from deploy.store.path import Entry, Manifest


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def incoming(content: bytes, executable: bool = False) -> Incoming:
    pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    return Incoming(digest(content), len(content), executable, pieces)


def manifest(label: str, files: Dict[str, bytes], executable: Iterable[str] = ()) -> Manifest:
    """The tree of these files."""
    return Manifest(
        label,
        tuple(
            Entry(path, digest(content), len(content), path in executable)
            for path, content in sorted(files.items())
        ),
    )


def filled(*trees: Dict[str, bytes]) -> MemoryStore:
    """A source that has the contents of these trees."""
    source = MemoryStore()
    for files in trees:
        for content in files.values():
            source.add(content)
    return source


UNSAFE = {
    "absolute": Manifest("x", (Entry("/etc/passwd", digest(b""), 0),)),
    "parent": Manifest("x", (Entry("../up", digest(b""), 0),)),
    "inner parent": Manifest("x", (Entry("a/../../up", digest(b""), 0),)),
    "dot": Manifest("x", (Entry("./a", digest(b""), 0),)),
    "empty part": Manifest("x", (Entry("a//b", digest(b""), 0),)),
    "null": Manifest("x", (Entry("a\0b", digest(b""), 0),)),
    "link out": Manifest("x", (Entry("a", target="../b"),)),
    "link to root": Manifest("x", (Entry("a", target="/etc"),)),
    "link through link": Manifest(
        "x", (Entry("a/b/up", target="../.."), Entry("out", target="a/b/up/../.."))
    ),
    "below a link": Manifest("x", (Entry("a", target="b"), Entry("a/c", digest(b""), 0))),
    "below a file": Manifest("x", (Entry("a", digest(b""), 0), Entry("a/c", digest(b""), 0))),
    "twice": Manifest("x", (Entry("a", digest(b""), 0), Entry("a", digest(b""), 0))),
    "unsorted": Manifest("x", (Entry("b", digest(b""), 0), Entry("a", digest(b""), 0))),
    "no digest": Manifest("x", (Entry("a", "../../../../etc/passwd", 0),)),
    "label": Manifest("../x", (Entry("a", digest(b""), 0),)),
}


class StoreSuite:
    """Subclasses give the fixture `store`, an empty one."""

    def test_object_that_was_put_can_be_read(self, store: Store) -> None:
        """Contents come back as they were, and count as new once."""
        assert 5 == store.put_objects([incoming(b"hello")])
        assert 0 == store.put_objects([incoming(b"hello")])
        with store.open_object(digest(b"hello")) as content:
            assert b"hello" == content.read()

    def test_missing_objects_are_told_in_order(self, store: Store) -> None:
        """Only what lacks is named."""
        store.put_objects([incoming(b"b")])
        asked = [digest(b"c"), digest(b"b"), digest(b"a")]
        assert [digest(b"c"), digest(b"a")] == store.missing_objects(asked)

    def test_what_is_not_there_is_a_key_error(self, store: Store) -> None:
        """Reading what nobody put says so."""
        with pytest.raises(KeyError):
            store.open_object(digest(b"nothing"))
        with pytest.raises(KeyError):
            store.manifest(manifest("none", {}).name)

    @pytest.mark.parametrize(
        ("claimed", "content"),
        [(b"honest", b"forged"), (b"longer", b"long"), (b"short", b"shorter"), (b"some", b"")],
    )
    def test_content_that_is_not_what_it_says_is_refused(
        self, store: Store, claimed: bytes, content: bytes
    ) -> None:
        """A forged object leaves nothing behind; those before it stay."""
        forged = Incoming(digest(claimed), len(claimed), False, [content])
        with pytest.raises(ValueError, match=digest(claimed)):
            store.put_objects([incoming(b"first"), forged, incoming(b"last")])
        asked = [digest(b"first"), digest(claimed), digest(content)]
        assert asked[1:] == store.missing_objects(asked)

    def test_what_came_before_a_cut_is_kept(self, store: Store) -> None:
        """An error of the source passes through, and complete objects need not come again."""

        def cut() -> Iterator[Incoming]:
            yield incoming(b"whole")
            raise EOFError("cut")

        with pytest.raises(EOFError, match="cut"):
            store.put_objects(cut())
        assert [] == store.missing_objects([digest(b"whole")])

    def test_tree_is_put_once_its_objects_are_there(self, store: Store) -> None:
        """A tree without its contents is refused, with all that lacks; then it is there."""
        tree = manifest("code", {"a.py": b"a", "sub/b.py": b"b"})
        store.put_objects([incoming(b"a")])
        with pytest.raises(MissingObjects) as failure:
            store.put_tree(tree)
        assert [digest(b"b")] == failure.value.digests
        assert [tree.name] == store.missing_trees([tree.name])
        store.put_objects([incoming(b"b")])
        store.put_tree(tree)
        store.put_tree(tree)
        assert [] == store.missing_trees([tree.name])
        assert tree == store.manifest(tree.name)

    def test_tree_with_a_wrong_size_is_refused(self, store: Store) -> None:
        """A manifest that lies about an object is not taken."""
        store.put_objects([incoming(b"abc")])
        with pytest.raises(ValueError, match="size"):
            store.put_tree(Manifest("x", (Entry("a", digest(b"abc"), 4),)))

    @pytest.mark.parametrize("tree", UNSAFE.values(), ids=UNSAFE.keys())
    def test_unsafe_tree_is_refused(self, store: Store, tree: Manifest) -> None:
        """Nothing is made for a manifest that would reach out of its tree."""
        store.put_objects([incoming(b"")])
        with pytest.raises(ValueError, match=r"."):
            store.put_tree(tree)

    def test_what_is_no_name_is_refused(self, store: Store) -> None:
        """Names are not paths."""
        with pytest.raises(ValueError, match="digest"):
            store.missing_objects(["../../etc/passwd"])
        with pytest.raises(ValueError, match="name"):
            store.missing_trees(["../" + manifest("x", {}).name])

    def test_links_and_empty_trees_are_trees(self, store: Store) -> None:
        """A tree may hold links, or nothing."""
        store.put_objects([incoming(b"")])
        links = Manifest("l", (Entry("a/up", target="../b"), Entry("b", digest(b""), 0)))
        for tree in (links, Manifest("empty", ())):
            store.put_tree(tree)
            assert tree == store.manifest(tree.name)

    def test_copy_brings_what_lacks(self, store: Store) -> None:
        """Copying from another store moves each content once, and nothing the second time."""
        files = {"a": b"same", "b": b"same", "c": b"other"}
        tree = manifest("code", files)
        assert 9 == copy(filled(files), [tree], store)
        assert 0 == copy(MemoryStore(), [tree], store)
        assert tree == store.manifest(tree.name)
