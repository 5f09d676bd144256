"""A store in a folder of this machine. Both sides; standard library only, Python >= 3.8.

    <root>/store/objects/ab/<sha256>      a content, 0444
    <root>/store/objects/ab/<sha256>.x    the same for trees in which it is executable, 0555
    <root>/store/trees/<name>/            hard links to objects
    <root>/store/trees/<name>.json        its manifest, there before the tree is

The mode belongs to the file, not to its name, hence the two kinds of objects; mostly just one of
them exists. Times are constant, so that Python's compiled files stay valid. Kill or power cut at
any moment leaves no half object or tree under its name: contents are flushed before they are
renamed (see `deploy.store.durable`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager
from typing import BinaryIO, Callable, Iterable, Iterator, List, Optional, Set, Tuple

from deploy.store.base import Incoming, MissingObjects
from deploy.store.durable import PREFIX, Scratch, flush, flush_one, remove, sweep
from deploy.store.path import DIGEST, TREE_NAME, Manifest

TIME = (1, 1)  # access and modification, seconds since the epoch
BATCH_FILES = 1024
LINK_ATTEMPTS = 5
BATCH_BYTES = 64 * 1024 * 1024  # what an interruption may cost


class LocalStore:
    """Implements `deploy.store.base.Store`. `link` is the seam for filesystems' link limits."""

    def __init__(self, root: str, *, link: Callable[[str, str], None] = os.link) -> None:
        self.root = os.path.abspath(root)
        self._folder = os.path.join(self.root, "store")
        self._objects = os.path.join(self._folder, "objects")
        self._trees = os.path.join(self._folder, "trees")
        self._link = link
        self._swept = False

    def __repr__(self) -> str:
        return f"<LocalStore {self._folder}>"

    def tree_path(self, name: str) -> str:
        """Where a tree is, or will be."""
        return os.path.join(self._trees, _checked(TREE_NAME, name, "a tree's name"))

    def missing_trees(self, names: Iterable[str]) -> List[str]:
        return [name for name in names if not os.path.isdir(self.tree_path(name))]

    def missing_objects(self, digests: Iterable[str]) -> List[str]:
        return [digest for digest in digests if self._find(digest) is None]

    def open_object(self, digest: str) -> BinaryIO:
        path = self._find(digest)
        if path is None:
            raise KeyError(digest)
        return open(path, "rb")

    def manifest(self, name: str) -> Manifest:
        if self.missing_trees([name]):
            raise KeyError(name)
        with open(self.tree_path(name) + ".json", "rb") as file:
            manifest = Manifest.from_json(json.loads(file.read()))
        if manifest.name != name:
            raise ValueError(f"the manifest of {name} was altered")
        return manifest

    def trees(self) -> List[str]:
        """The names of all trees, sorted."""
        names = _entries(self._trees)
        return sorted(name for name in names if TREE_NAME.match(name) and self._is_tree(name))

    def objects(self) -> List[str]:
        """The digests of all objects, sorted."""
        names = (name for folder in _entries(self._objects) for name in self._names_in(folder))
        return sorted({name[:64] for name in names if DIGEST.match(name[:64])})

    def object_paths(self, digest: str) -> List[Tuple[str, bool]]:
        """The files of an object, and whether each is the executable one."""
        paths = [(self._path(digest, executable), executable) for executable in (False, True)]
        return [(path, executable) for path, executable in paths if os.path.exists(path)]

    def put_objects(self, objects: Iterable[Incoming]) -> int:
        added = 0
        with self.writing(), Scratch(self._objects) as scratch:
            batch: List[Tuple[str, str]] = []  # where it is, what it is to be called
            size = 0
            try:
                for number, incoming in enumerate(objects):
                    if self._find(incoming.digest) is not None:
                        for _ in incoming.chunks:
                            pass
                        continue
                    path = os.path.join(scratch.path, str(number))
                    _write(path, incoming)
                    batch.append((path, self._path(incoming.digest, incoming.executable)))
                    added += incoming.size
                    size += incoming.size
                    if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                        self._publish(batch)
                        size = 0
            finally:
                # Whatever stopped us: what is complete and verified need not be sent again.
                self._publish(batch)
        return added

    def put_tree(self, manifest: Manifest) -> None:
        manifest.check()
        name = manifest.name
        if not self.missing_trees([name]):
            return
        with self.writing():
            self._check_objects(manifest)
            self._make_variants(manifest)
            with Scratch(self._trees) as scratch:
                self._fill(scratch.path, manifest)
                self._write_manifest(name, manifest)
                try:
                    os.rename(scratch.path, self.tree_path(name))
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    return  # somebody else was quicker, with the same tree
                flush_one(self._trees)

    def remove_tree(self, name: str) -> None:
        """Nothing happens if it is not here. Needs no free space."""
        path = self.tree_path(name)
        grave = os.path.join(self._trees, PREFIX + name)
        try:
            # Gone at once, and swept later if we do not get to the end.
            os.rename(path, grave)
        except FileNotFoundError:
            pass  # an earlier attempt got that far
        remove(grave)
        remove(path + ".json")

    def remove_object(self, digest: str) -> int:
        """The bytes that became free, if no tree has links to it. Needs no free space."""
        freed = 0
        for executable in (False, True):
            path = self._path(digest, executable)
            try:
                freed += os.stat(path).st_size
                os.unlink(path)
            except FileNotFoundError:
                continue  # most objects are of one kind
        return freed

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps collectors out, not other writers. What died half way is swept at the first use."""
        for folder in (self._objects, self._trees):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        with self._locked(fcntl.LOCK_SH):
            if not self._swept:
                self._sweep()
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keeps writers and other collectors out. Raises BlockingIOError when one is at work."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._sweep()
            for name in _entries(self._trees):
                tree, ending = os.path.splitext(name)
                if ending == ".json" and not self._is_tree(name) and not self._is_tree(tree):
                    os.unlink(os.path.join(self._trees, name))  # its tree never came, or went
            yield

    def _sweep(self) -> None:
        for folder in (self._objects, self._trees):
            if os.path.isdir(folder):
                sweep(folder)
        self._swept = True

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        # The folder itself is locked: a lock file could not be made on a full disk.
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _publish(self, batch: List[Tuple[str, str]], *, replace: bool = False) -> None:
        """Gives finished files their names, durably; empties `batch`."""
        if not batch:
            return
        flush([path for path, _ in batch], self._objects)
        folders = set()
        for path, name in batch:
            folder = os.path.dirname(name)
            if folder not in folders and not os.path.isdir(folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
                folders.add(self._objects)
            folders.add(folder)
            try:
                os.link(path, name)
            except FileExistsError:
                # Somebody was quicker. Theirs stays: a tree may be taking links to it right now.
                if replace:
                    os.rename(path, name)
        flush(sorted(folders), self._objects)
        batch.clear()

    def _check_objects(self, manifest: Manifest) -> None:
        missing = set()
        for digest, size in manifest.objects.items():
            path = self._find(digest)
            if path is None:
                missing.add(digest)
            elif os.stat(path).st_size != size:
                raise ValueError(f"{manifest.name}: wrong size of object {digest}")
        if missing:
            raise MissingObjects(manifest.name, missing)

    def _make_variants(self, manifest: Manifest) -> None:
        """Objects that are here, but not in the mode in which the tree needs them."""
        wanted: Set[str] = set()
        for entry in manifest.entries:
            if entry.digest is not None:
                wanted.add(self._path(entry.digest, entry.executable))
        absent = sorted(path for path in wanted if not os.path.exists(path))
        if absent:
            self._remake(absent)

    def _remake(self, paths: List[str], *, replace: bool = False) -> None:
        """New files for these objects, from what there is of them."""
        with Scratch(self._objects) as scratch:
            batch = []
            for number, path in enumerate(paths):
                source = self._find(os.path.basename(path)[:64])
                if source is None:
                    raise FileNotFoundError(path)
                fresh = os.path.join(scratch.path, str(number))
                shutil.copyfile(source, fresh)
                os.chmod(fresh, 0o555 if path.endswith(".x") else 0o444)
                os.utime(fresh, TIME)
                batch.append((fresh, path))
            self._publish(batch, replace=replace)

    def _fill(self, folder: str, manifest: Manifest) -> None:
        """Makes a tree in an empty folder, all but its name."""
        folders = {""}
        for entry in manifest.entries:
            parent, _, _ = entry.path.rpartition("/")
            if parent not in folders:
                os.makedirs(os.path.join(folder, parent), exist_ok=True)
                while parent:
                    folders.add(parent)
                    parent, _, _ = parent.rpartition("/")
            path = os.path.join(folder, entry.path)
            if entry.target is not None:
                os.symlink(entry.target, path)
                os.utime(path, TIME, follow_symlinks=False)
            else:
                self._add_link(self._path(entry.digest or "", entry.executable), path)
        made = [os.path.join(folder, name) if name else folder for name in sorted(folders)]
        for path in made:
            os.chmod(path, 0o555)
            os.utime(path, TIME)
        flush(made, self._trees)

    def _add_link(self, source: str, path: str) -> None:
        for _ in range(LINK_ATTEMPTS):
            try:
                return self._link(source, path)
            except FileNotFoundError:
                # Replaced by another writer between the kernel's look-up and its link.
                if not os.path.exists(source):
                    raise
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
                # As many links as the filesystem allows (of an empty file, mostly): go on with a
                # new file of this name. The older trees keep theirs.
                self._remake([source], replace=True)
        return self._link(source, path)

    def _write_manifest(self, name: str, manifest: Manifest) -> None:
        with Scratch(self._trees) as scratch:
            path = os.path.join(scratch.path, "manifest")
            with open(path, "w", encoding="ascii") as file:
                json.dump(manifest.to_json(), file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(path, 0o444)
            os.rename(path, self.tree_path(name) + ".json")

    def _path(self, digest: str, executable: bool) -> str:
        _checked(DIGEST, digest, "a digest")
        name = digest + ".x" if executable else digest
        return os.path.join(self._objects, digest[:2], name)

    def _find(self, digest: str) -> Optional[str]:
        for executable in (False, True):
            path = self._path(digest, executable)
            if os.path.exists(path):
                return path
        return None

    def _is_tree(self, name: str) -> bool:
        return os.path.isdir(os.path.join(self._trees, name))

    def _names_in(self, folder: str) -> List[str]:
        return [] if len(folder) != 2 else _entries(os.path.join(self._objects, folder))


def _write(path: str, incoming: Incoming) -> None:
    """The object in a file, not flushed. Raises ValueError unless it is what it says."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "xb", buffering=0) as file:
        for chunk in incoming.chunks:
            size += len(chunk)
            if size > incoming.size:
                break
            digest.update(chunk)
            _write_all(file.fileno(), chunk)
        os.fchmod(file.fileno(), 0o555 if incoming.executable else 0o444)
        os.utime(file.fileno(), TIME)
    if size != incoming.size:
        found = "more" if size > incoming.size else f"only {size}"
        raise ValueError(f"object {incoming.digest} has {found} bytes, not {incoming.size}")
    if digest.hexdigest() != incoming.digest:
        raise ValueError(f"object {incoming.digest} has the content of {digest.hexdigest()}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not isinstance(text, str) or not pattern.match(text):
        raise ValueError(f"not {what}: {text!r}")
    return text


def _entries(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
