"""A store in memory: the public fake for tests of what uses stores. Laptop only."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import BinaryIO

from deploy.store.base import Incoming, MissingObjects
from deploy.store.path import DIGEST, TREE_NAME, Manifest


class MemoryStore:
    """Implements `deploy.store.base.Store`. `trees` and `contents` are there to be looked at."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.trees: dict[str, Manifest] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self.trees)} trees, {len(self.contents)} objects>"

    def add(self, content: bytes) -> str:
        """Adds an object; its digest."""
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        return digest

    def missing_trees(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        for name in names:
            if not TREE_NAME.match(name):
                raise ValueError(f"not a tree's name: {name!r}")
        return [name for name in names if name not in self.trees]

    def missing_objects(self, digests: Iterable[str]) -> list[str]:
        digests = list(digests)
        for digest in digests:
            if not DIGEST.match(digest):
                raise ValueError(f"not a digest: {digest!r}")
        return [digest for digest in digests if digest not in self.contents]

    def put_objects(self, objects: Iterable[Incoming]) -> int:
        added = 0
        for incoming in objects:
            content = b"".join(incoming.chunks)
            if not self.missing_objects([incoming.digest]):
                continue
            if len(content) != incoming.size:
                raise ValueError(
                    f"object {incoming.digest} has {len(content)} bytes, not {incoming.size}"
                )
            digest = hashlib.sha256(content).hexdigest()
            if digest != incoming.digest:
                raise ValueError(f"object {incoming.digest} has the content of {digest}")
            self.contents[digest] = content
            added += len(content)
        return added

    def put_tree(self, manifest: Manifest) -> None:
        manifest.check()
        missing = self.missing_objects(manifest.objects)
        if missing:
            raise MissingObjects(manifest.name, missing)
        for digest, size in manifest.objects.items():
            if len(self.contents[digest]) != size:
                raise ValueError(f"{manifest.name}: wrong size of object {digest}")
        self.trees[manifest.name] = manifest

    def open_object(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.contents[digest])

    def manifest(self, name: str) -> Manifest:
        return self.trees[name]
