"""An archive from anywhere -> its files, none of them outside of where we want them. Laptop only.

Nothing in an archive is believed: neither names nor links, sizes nor kinds.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from deploy.deployment import Link
from deploy.errors import BuildError

MOST_BYTES = 2 * 1024**3  # unpacked, with what is between the files
MOST_FILES = 100_000
CHUNK = 1024 * 1024
END = 1024  # bytes, zeros all of them

_PACKERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZSTD, _ZIP = b"\x28\xb5\x2f\xfd", b"PK"


def unpack(archive: Path, folder: Path, most_bytes: int = MOST_BYTES) -> dict[str, Path | Link]:
    """Paths in a tar archive -> files in `folder` (under names of ours), and links as they are.

    Folders are left out; nothing but files and links may be there. Whether links lead out of the
    tree is for `Manifest.check` to say. Raises BuildError; what is in `folder` is then worthless.
    """
    entries: dict[str, Path | Link] = {}
    try:
        with _opened(archive, most_bytes) as tar:
            for member in tar:
                if member.isdir():
                    continue
                name = _safe(member.name)
                if name in entries:
                    raise _Hostile(f"{name!r} is in it twice")
                if len(entries) == MOST_FILES:
                    raise _Hostile(f"it has more than {MOST_FILES} files")
                if member.issym():
                    entries[name] = Link(member.linkname)
                elif member.islnk():
                    entries[name] = _linked(name, _safe(member.linkname), entries)
                elif member.isreg():
                    entries[name] = _extract(tar, member, folder / str(len(entries)))
                else:
                    raise _Hostile(f"{name!r} is neither a file nor a link")
    except _Hostile as error:
        raise BuildError(f"{archive} is not unpacked: {error}") from error
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise BuildError(f"{archive} cannot be unpacked: {error}") from error
    return entries


class _Hostile(Exception):
    """Something in an archive that no honest packer puts there."""


class _Limited:
    """A stream of at most `most` bytes, forwards only: a small archive may hold a great deal."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self._left = most
        self._last = b""

    def read(self, size: int = CHUNK) -> bytes:
        data = self._stream.read(min(size, CHUNK) if size >= 0 else CHUNK)
        self._left -= len(data)
        if self._left < 0:
            raise _Hostile(f"it has more than {self._most} bytes when it is unpacked")
        self._last = (self._last + data)[-END:]
        return data

    def finish(self) -> None:
        """Reads to the end, where packers check what they packed, and tar ends with zeros."""
        while self.read():
            pass
        if self._last != bytes(END):
            raise _Hostile("it ends too early")


@contextmanager
def _opened(archive: Path, most_bytes: int) -> Iterator[tarfile.TarFile]:
    with open(archive, "rb") as file:
        first = file.read(8)
        file.seek(0)
        if first.startswith(_ZSTD):
            raise BuildError(
                f"{archive} is packed with zstd, which cannot be read here",
                hint=f"zstd -dc {archive} | gzip > python.tar.gz; and name that one",
            )
        if first.startswith(_ZIP):
            raise BuildError(f"{archive} is a zip file; pack it with tar, which keeps links")
        packer = next((open for mark, open in _PACKERS.items() if first.startswith(mark)), None)
        stream = cast(BinaryIO, file if packer is None else packer(file, "rb"))
        limited = _Limited(stream, most_bytes)
        with tarfile.open(fileobj=cast(BinaryIO, limited), mode="r|") as tar:
            yield tar
            limited.finish()


def _safe(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise _Hostile(f"the path {name!r} leads out of it")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _Hostile(f"the path {name!r} is not UTF-8") from None
    return "/".join(parts)


def _linked(name: str, target: str, entries: dict[str, Path | Link]) -> Path | Link:
    if target not in entries:
        raise _Hostile(f"{name!r} is a link to {target!r}, which is not there")
    return entries[target]


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Path:
    source = tar.extractfile(member)
    if source is None:
        raise _Hostile(f"{member.name!r} has no content")
    written = 0
    with open(path, "xb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            file.write(chunk)
    if written != member.size:
        raise _Hostile(f"{member.name!r} ends too early")
    path.chmod(0o700 if member.mode & 0o100 else 0o600)
    return path
