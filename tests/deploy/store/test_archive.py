"""Archives: whole ones arrive, anything else is refused and changes nothing but whole objects."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tracemalloc
import zlib
from typing import Dict, Iterator, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.store.archive import LENGTH, MAGIC, OBJECT, PACKED, Item, decode, encode, receive
from deploy.store.base import CHUNK, Incoming, MissingObjects
from deploy.store.memory import MemoryStore
from deploy.store.path import Manifest
from tests.deploy.store.suite import UNSAFE, digest, incoming, manifest

FILES = {"a": b"first", "b/c": b"second" * 1000, "b/d": b""}
TREE = manifest("code", FILES)


def archive(packed: bool = False, **files: bytes) -> bytes:
    contents = {**FILES, **files}
    items: List[Item] = [incoming(content) for content in contents.values()]
    return b"".join(encode([*items, manifest("code", contents)], packed=packed))


def reader(data: bytes, limit: int = 1 << 30):  # type: ignore[no-untyped-def]
    stream = io.BytesIO(data)
    return lambda size: stream.read(min(size, limit))


def raw(kind: bytes, *parts: bytes) -> bytes:
    return MAGIC + b"\0" + kind + b"".join(parts)


@given(st.dictionaries(st.text("abc", min_size=1), st.binary(max_size=5000)), st.booleans())
def test_archive_arrives(files: Dict[str, bytes], packed: bool) -> None:
    """Every content and the tree come through, packed or not, in pieces of any size."""
    tree = manifest("code", files)
    items: List[Item] = [incoming(content) for content in files.values()]
    data = b"".join(encode([*items, tree], packed=packed))
    store = MemoryStore()
    done = receive(reader(data, limit=7), store)
    assert [tree.name] == done.trees
    assert {digest(content): content for content in files.values()} == store.contents
    assert tree == store.manifest(tree.name)


@pytest.mark.parametrize("packed", [False, True])
def test_cut_archive_is_refused_at_every_byte(packed: bool) -> None:
    """Wherever the line is cut: an error, no tree, and every object that is there is whole."""
    data = archive(packed)
    end = len(data) - 6 if packed else len(data)  # zlib's own end tells us nothing new
    for length in range(end):
        store = MemoryStore()
        with pytest.raises(ValueError, match=r"archive"):
            receive(reader(data[:length]), store)
        assert all(digest(content) == key for key, content in store.contents.items())


@given(st.binary(max_size=200), st.booleans())
def test_nonsense_is_refused(data: bytes, with_header: bool) -> None:
    """Bytes of any kind are a ValueError, or an empty archive."""
    store = MemoryStore()
    try:
        receive(reader((MAGIC + b"\0" if with_header else b"") + data), store)
    except ValueError:
        pass
    assert {} == store.trees


@given(st.data())
def test_flipped_byte_is_noticed(data: st.DataObject) -> None:
    """One wrong byte never gives a tree with other contents than it says."""
    good = bytearray(archive())
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    store = MemoryStore()
    try:
        receive(reader(bytes(good)), store)
    except (ValueError, MissingObjects):
        pass
    assert all(digest(content) == key for key, content in store.contents.items())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "header"),
        (b"deployar\x02\0", "version 1"),
        (MAGIC + b"\2", "version 1"),
        (raw(b"z"), "kind"),
        (raw(b"o", OBJECT.pack(b"\0" * 32, 2, 0)), "mode 2"),
        (raw(b"o", OBJECT.pack(b"\0" * 32, 0, 1 << 63)), "an object of"),
        (raw(b"o", OBJECT.pack(b"\0" * 32, 0, 1 << 39), b"x"), "ends"),
        (raw(b"t", LENGTH.pack(0xFFFFFFFF)), "a manifest of"),
        (raw(b"t", LENGTH.pack(4), b"nope"), "bad archive"),
        (MAGIC + bytes([PACKED]) + b"not zlib", "bad archive"),
    ],
)
def test_hostile_archive_is_told_what_is_wrong(data: bytes, words: str) -> None:
    """Wrong versions, kinds and lengths have their own words."""
    with pytest.raises(ValueError, match=words):
        receive(reader(data), MemoryStore())


@pytest.mark.parametrize("tree", UNSAFE.values(), ids=UNSAFE.keys())
def test_unsafe_tree_does_not_arrive(tree: Manifest) -> None:
    """A manifest that reaches out of its tree is refused before the store sees it."""
    store = MemoryStore()
    with pytest.raises(ValueError, match="bad archive"):
        receive(reader(b"".join(encode([incoming(b""), tree]))), store)
    assert {} == store.trees


@pytest.mark.parametrize("text", [b"[" * 100_000, b"null", b'{"label": "x"}', b"\xff"])
def test_manifest_that_is_none_is_refused(text: bytes) -> None:
    """Packed text that is no manifest is a ValueError, however deep."""
    data = zlib.compress(text)
    with pytest.raises(ValueError, match="bad archive"):
        receive(reader(raw(b"t", struct.pack(">I", len(data)), data)), MemoryStore())


def test_manifest_bomb_is_refused_without_being_unpacked() -> None:
    """A manifest that unpacks to gigabytes stops at the limit."""
    bomb = zlib.compress(b" " * 50_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        list(decode(reader(raw(b"t", LENGTH.pack(len(bomb)), bomb)), largest_manifest=1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("packed", [False, True])
def test_memory_stays_bounded(packed: bool) -> None:
    """A content larger than what we would hold passes through in pieces, both ways."""
    size = 64 * CHUNK
    zeros = Incoming("0" * 64, size, False, (bytes(CHUNK) for _ in range(64)))
    pieces = encode([zeros], packed=packed)
    waiting = b""

    def read(limit: int) -> bytes:
        nonlocal waiting
        waiting = waiting or next(pieces)
        head, waiting = waiting[:limit], waiting[limit:]
        return head

    tracemalloc.start()
    found = 0
    for item in decode(read):
        assert isinstance(item, Incoming)
        found += sum(len(chunk) for chunk in item.chunks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == found
    assert peak < 12 * CHUNK


def test_source_that_shrinks_breaks_off() -> None:
    """A content of another size than was said ends the archive: nothing after would be read."""

    def short() -> Iterator[bytes]:
        yield b"12"

    with pytest.raises(ValueError, match="2 bytes, not 3"):
        list(encode([Incoming("0" * 64, 3, False, short())]))


def test_manifests_travel_packed() -> None:
    """A tree of many similar files costs little more than its digests."""
    files = {f"package/module_{number}.py": str(number).encode() for number in range(1000)}
    tree = manifest("code", files)
    packed = len(b"".join(encode([tree])))
    assert packed < len(json.dumps(tree.to_json())) * 0.6
    assert packed > 1000 * hashlib.sha256().digest_size
