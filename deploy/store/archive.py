"""The form in which objects and trees travel: one stream, read with bounded memory. Python >= 3.8.

    header   "deployar", version 1, flags (bit 0: all that follows is one zlib stream)
    object   "o", digest (32 bytes), executable (0 or 1), length (8 bytes), content
    tree     "t", length (4 bytes), manifest as zlib-packed JSON
    end      "e"

Objects come before the trees that need them. Numbers are big-endian. Nothing in a stream is
trusted: who sends it may be broken, and the line may be cut anywhere.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, List, Optional, Union

from deploy.store.base import CHUNK, Incoming, Store
from deploy.store.path import Manifest

MAGIC = b"deployar\x01"
PACKED = 1  # flag
OBJECT = struct.Struct(">32sBQ")
LENGTH = struct.Struct(">I")
LARGEST_OBJECT = 1 << 40
LARGEST_MANIFEST = 256 * 1024 * 1024  # bytes of JSON: about two million files

Read = Callable[[int], bytes]
Item = Union[Incoming, Manifest]


@dataclass(frozen=True)
class Received:
    """What an archive brought: objects that were in it, bytes that were new, trees."""

    objects: int
    bytes: int
    trees: List[str]


def encode(items: Iterable[Item], *, packed: bool = False) -> Iterator[bytes]:
    """The archive of `items`, in pieces of about CHUNK bytes. Reads contents as it goes."""
    yield MAGIC + bytes([PACKED if packed else 0])
    pieces = _joined(_records(items))
    if not packed:
        yield from pieces
        return
    packer = zlib.compressobj(1)
    for piece in pieces:
        data = packer.compress(piece)
        if data:
            yield data
    yield packer.flush()


def decode(read: Read, *, largest_manifest: int = LARGEST_MANIFEST) -> Iterator[Item]:
    """The items of an archive. `read(n)` gives 1 to n bytes, b"" at the end of the stream.

    An object's chunks are read from the stream as they are asked for; what was left is skipped
    before the next item. Raises ValueError for anything that is not a whole archive.
    """
    header = _exactly(read, len(MAGIC) + 1, "its header")
    if header[: len(MAGIC)] != MAGIC or header[-1] > PACKED:
        raise ValueError(f"not an archive of version 1: it starts with {header!r}")
    if header[-1] & PACKED:
        read = _unpacked(read)
    while True:
        kind = _exactly(read, 1, "an item")
        if kind == b"e":
            return
        if kind == b"t":
            yield _manifest(read, largest_manifest)
        elif kind == b"o":
            digest, executable, size = OBJECT.unpack(_exactly(read, OBJECT.size, "an object"))
            if executable > 1 or size > LARGEST_OBJECT:
                raise ValueError(f"bad archive: an object of {size} bytes, mode {executable}")
            content = _content(read, digest.hex(), size)
            yield Incoming(digest.hex(), size, bool(executable), content)
            for _ in content:
                pass
        else:
            raise ValueError(f"bad archive: an item of kind {kind!r}")


def receive(
    read: Read, store: Store, on_progress: Optional[Callable[[int], None]] = None
) -> Received:
    """Puts an archive into a store. `on_progress` is told the bytes of content so far.

    Raises ValueError for a bad archive, MissingObjects for an incomplete one, OSError for a full
    disk: objects and trees that had come whole are kept, and need not be sent again.
    """
    items = decode(read)
    count = seen = added = 0
    trees: List[str] = []
    trailing: List[Manifest] = []

    def counted(incoming: Incoming) -> Iterator[bytes]:
        nonlocal seen
        for chunk in incoming.chunks:
            seen += len(chunk)
            if on_progress is not None:
                on_progress(seen)
            yield chunk

    def objects() -> Iterator[Incoming]:
        """As many objects as come before the next tree, which goes to `trailing`."""
        nonlocal count
        for item in items:
            if isinstance(item, Manifest):
                trailing.append(item)
                return
            count += 1
            yield Incoming(item.digest, item.size, item.executable, counted(item))

    while True:
        added += store.put_objects(objects())
        if not trailing:
            return Received(count, added, trees)
        manifest = trailing.pop()
        store.put_tree(manifest)
        trees.append(manifest.name)


def _records(items: Iterable[Item]) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, Manifest):
            data = zlib.compress(json.dumps(item.to_json(), separators=(",", ":")).encode("ascii"))
            yield b"t" + LENGTH.pack(len(data))
            yield data
        else:
            yield b"o" + OBJECT.pack(bytes.fromhex(item.digest), item.executable, item.size)
            sent = 0
            for chunk in item.chunks:
                sent += len(chunk)
                yield chunk
            if sent != item.size:
                # The frame is broken: nothing that could follow would be understood.
                raise ValueError(f"object {item.digest} has {sent} bytes, not {item.size}")
    yield b"e"


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at least CHUNK, but for the last."""
    waiting: List[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _content(read: Read, digest: str, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = read(min(CHUNK, left))
        if not chunk:
            raise ValueError(f"the archive ends {left} bytes before object {digest} does")
        left -= len(chunk)
        yield chunk


def _manifest(read: Read, largest: int) -> Manifest:
    (size,) = LENGTH.unpack(_exactly(read, LENGTH.size, "a manifest"))
    if size > largest:
        raise ValueError(f"bad archive: a manifest of {size} bytes")
    unpacker = zlib.decompressobj()
    text = bytearray()
    try:
        for chunk in _content(read, "(a manifest)", size):
            text += unpacker.decompress(chunk, largest - len(text) + 1)
            if len(text) > largest or unpacker.unconsumed_tail:
                raise ValueError(f"a manifest of more than {largest} bytes")
        if not unpacker.eof:
            raise ValueError("a manifest that does not end")
        return Manifest.from_json(json.loads(text.decode("ascii")))
    except (zlib.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"bad archive: {error}") from error


def _exactly(read: Read, size: int, what: str) -> bytes:
    data = b""
    while len(data) < size:
        more = read(size - len(data))
        if not more:
            raise ValueError(f"the archive ends in the middle of {what}")
        data += more
    return data


def _unpacked(read: Read) -> Read:
    """`read` for what a zlib stream holds; never keeps more than about CHUNK bytes."""
    unpacker = zlib.decompressobj()

    def unpack(limit: int) -> bytes:
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or read(CHUNK)
            if not packed:
                return b""
            try:
                data = unpacker.decompress(packed, limit)
            except zlib.error as error:
                raise ValueError(f"bad archive: {error}") from error
            if data:
                return data
        return b""

    return unpack
