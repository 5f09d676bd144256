"""Small files that are there whole or not at all. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
import re
from pathlib import Path

UNFINISHED = re.compile(r"\..+\.\d+\.tmp\Z")  # as `write` and `link` call what they rename


def write(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replaces `path` (mode 0600) in one step, `durable`: also in a power cut. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(str(temporary), "wb", opener=_private_opener) as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except OSError:
        try:
            temporary.unlink()
        except FileNotFoundError:
            pass
        raise
    if durable:
        sync_folder(path.parent)


def link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to `target`, in one step and durably. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink()
    except FileNotFoundError:
        pass
    os.symlink(target, str(temporary))
    os.replace(str(temporary), str(path))
    sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Removes below `folder` what writers that died left unfinished; nobody may be writing."""
    for where, _, names in os.walk(str(folder)):
        for name in names:
            if UNFINISHED.match(name):
                os.unlink(os.path.join(where, name))


def sync_folder(path: Path) -> None:
    folder = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass
