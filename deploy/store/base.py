"""The interface of a store: objects by content, trees of them. Both sides, Python >= 3.8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterable, Iterator, List, Protocol, Tuple

from deploy.store.path import Manifest

CHUNK = 262144  # bytes that are read or written at once


@dataclass(frozen=True)
class Incoming:
    """An object on its way into a store.

    `chunks` is read once, to its end, before the next object is asked for. `executable` says which
    of its two files (see `deploy.store.local`) is worth making first; it is no part of the content.
    """

    digest: str
    size: int
    executable: bool
    chunks: Iterable[bytes]


class MissingObjects(LookupError):
    """A tree was put whose objects are not all there; nothing was changed."""

    def __init__(self, tree: str, digests: Iterable[str]) -> None:
        self.tree = tree
        self.digests = sorted(digests)
        super().__init__(f"{tree} lacks {len(self.digests)} of its objects")


class Objects(Protocol):
    """Where the contents of files can be read. All that sending needs of its source."""

    def open_object(self, digest: str) -> BinaryIO:
        """The content, from its start; the caller closes it. Raises KeyError when it is not there,
        OSError when it cannot be read. The reader verifies it: it may have changed meanwhile."""


class Store(Objects, Protocol):
    """Content that never changes. Everything put is verified first, and is durable on return.

    Every method may be called again after a failure, and from several processes at once.
    """

    def missing_trees(self, names: Iterable[str]) -> List[str]:
        """Those of `names` that are not here, in order. Raises ValueError for what is no name."""

    def missing_objects(self, digests: Iterable[str]) -> List[str]:
        """Those of `digests` that are not here, in order. Raises ValueError for what is none."""

    def put_objects(self, objects: Iterable[Incoming]) -> int:
        """Adds objects; returns the number of bytes that were new. Those that are here already are
        read and dropped. Raises ValueError when a content is not what its digest and size say, and
        lets through what `objects` raises; objects that were complete before that are kept."""

    def put_tree(self, manifest: Manifest) -> None:
        """Adds a tree, whole or not at all. Does nothing if it is here.
        Raises MissingObjects; ValueError for an unsafe manifest or wrong sizes."""

    def manifest(self, name: str) -> Manifest:
        """What a tree consists of. Raises KeyError when it is not here."""


def chunks(content: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file, piece by piece; closes it."""
    with content:
        while True:
            piece = content.read(CHUNK)
            if not piece:
                return
            yield piece


def objects_of(manifests: Iterable[Manifest]) -> Dict[str, Tuple[int, bool]]:
    """Digest -> size and whether it is an executable somewhere, of every object, once."""
    found: Dict[str, Tuple[int, bool]] = {}
    for manifest in manifests:
        for entry in manifest.entries:
            if entry.digest is not None:
                known = found.get(entry.digest, (0, False))
                found[entry.digest] = (entry.size, entry.executable or known[1])
    return found


def copy(source: Objects, manifests: Iterable[Manifest], destination: Store) -> int:
    """Brings trees into a store of this machine; returns the number of bytes that were new.
    Raises as `put_objects`, `put_tree` and `open_object` do."""
    wanted = {manifest.name: manifest for manifest in manifests}
    absent = [wanted[name] for name in destination.missing_trees(wanted)]
    known = objects_of(absent)

    def incoming() -> Iterator[Incoming]:
        for digest in destination.missing_objects(known):
            size, executable = known[digest]
            yield Incoming(digest, size, executable, chunks(source.open_object(digest)))

    count = destination.put_objects(incoming())
    for manifest in absent:
        destination.put_tree(manifest)
    return count
