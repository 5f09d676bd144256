"""Contents on their way out: read where they lie, and held against their digests. Laptop only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from deploy.errors import BuildError
from deploy.store.archive import Item
from deploy.store.base import Incoming, Objects, chunks, objects_of
from deploy.store.path import Manifest

SAMPLES = 8  # objects that are looked at, to know how well they pack


def beginnings(source: Objects, sizes: Mapping[str, int], each: int) -> bytes:
    """The beginnings of some of the objects that lack: the longest, which take the most time."""
    longest = sorted(sizes, key=lambda digest: -sizes[digest])[:SAMPLES]
    pieces = []
    for digest in longest:
        try:
            with source.open_object(digest) as content:
                pieces.append(content.read(each))
        except (OSError, KeyError):
            continue  # sending it will tell
    return b"".join(pieces)


def items(source: Objects, sizes: Mapping[str, int], manifests: list[Manifest]) -> Iterator[Item]:
    """The objects of `manifests` that `sizes` names. Reading them raises BuildError for one that is
    not what it was."""
    modes = objects_of(manifests)
    for digest, size in sizes.items():
        yield Incoming(digest, size, modes[digest][1], _verified(source, digest, size))


def _verified(source: Objects, digest: str, size: int) -> Iterator[bytes]:
    """An object's content. Raises BuildError when it is not what it was."""
    content = None
    try:
        content = source.open_object(digest)
        found = hashlib.sha256()
        left = size
        for chunk in chunks(content):
            left -= len(chunk)
            if left < 0:
                break
            found.update(chunk)
            yield chunk
    except (OSError, KeyError) as error:
        raise _changed(content, str(error)) from error
    if left or found.hexdigest() != digest:
        raise _changed(content, digest)


def _changed(content: BinaryIO | None, otherwise: str) -> BuildError:
    name = getattr(content, "name", otherwise)
    return BuildError(
        f"{name} changed while it was being deployed; no machine was switched",
        hint="run the same command again",
    )
