"""Where a producing node is found: the Unix socket `<folder>/<node>.shm`. Node (>= 3.10).

The socket is inherited (LISTEN_FDS, as systemd passes them, under the name `shm`) where somebody
holds it for the node: then consumers can connect before the node runs, and find it again after it
was killed. Otherwise the node binds it itself.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dora.errors import DoraError
from dora.protocol.supervision import inherited_sockets

SUFFIX = ".shm"
NAME = "shm"  # in LISTEN_FDNAMES

_BACKLOG = 128
_LONGEST = 100  # bytes; a socket's address has room for 108


def path_of(folder: str, node: str) -> Path:
    return Path(folder, node + SUFFIX)


def dial(path: Path) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError if nobody listens, or too many wait."""
    sock = _socket()
    try:
        _with_short_path(path, sock.connect)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """A listening, non-blocking socket for a node."""

    def __init__(self, sock: socket.socket, path: Path | None) -> None:
        self.socket = sock
        self._path = path  # None if somebody else holds the socket
        self._inode = path.stat().st_ino if path is not None else 0

    def close(self, *, remove: bool = True) -> None:
        """Takes the name away too, unless a later process has it by now. May be called twice."""
        self.socket.close()
        path, self._path = self._path, None
        if path is not None and remove:
            try:
                if path.stat().st_ino == self._inode:
                    path.unlink()
            except FileNotFoundError:
                pass  # the folder was cleaned up


def listen(path: Path, inherited: int | None) -> Listener:
    """The socket with descriptor `inherited`, or else one bound at `path`, in place of a stale one.

    Raises DoraError if the inherited one is of another kind, or if the path cannot be bound.
    """
    if inherited is not None:
        return Listener(_adopt(inherited), None)
    try:
        return Listener(_bind(path), path)
    except OSError as error:
        raise DoraError(f"{path}: cannot listen for readers: {error.strerror}") from error


@cache
def inherited_socket() -> int | None:
    """The descriptor that this process was given for its readers. It stays open: whoever gave it
    may ask for a copy, and a node that is made again listens again."""
    return inherited_sockets().get(NAME)


def _adopt(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 0))
    except OSError as error:
        raise DoraError(f"inherited file {descriptor} ({NAME}): {error.strerror}") from error
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_SEQPACKET:
        sock.close()
        raise DoraError(f"inherited socket {descriptor} ({NAME}) must be a Unix SEQPACKET socket")
    sock.setblocking(False)
    return sock


def _bind(path: Path) -> socket.socket:
    """Bound aside and renamed: whoever finds the name can connect."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sock = _socket()
    aside = path.with_name(path.name + ".new")
    try:
        with path.with_name(path.name + ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            aside.unlink(missing_ok=True)
            _with_short_path(aside, sock.bind)
            aside.chmod(0o600)
            sock.listen(_BACKLOG)
            os.replace(aside, path)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket() -> socket.socket:
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_UNIX, kind)


def _with_short_path(path: Path, use: Callable[[str], None]) -> None:
    """Calls `use` with a name for `path` that a socket's address has room for."""
    if len(os.fsencode(path)) <= _LONGEST:
        use(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
