"""What a consumer and its producer tell each other when they meet and part. Node (>= 3.10).

SEQPACKET keeps messages apart: JSON text, with file descriptors beside it. The consumer subscribes
(its pipe, its release table and its eventfd go along), the producer welcomes it (with its arena);
either may say that it leaves. The end of the connection is the end of the process.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1

_LONGEST = 4096
_MOST_FDS = 4
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Subscribe:
    """File descriptors: both ends of the pipe (write, read), the release table, the eventfd."""

    route: str
    epoch: int
    queue_size: int
    queue_policy: str
    node: str  # who reads, if it is a node
    group: str = ""  # whose replicas share what is sent (see `distribution.Share`)
    key: str = ""

    FDS = 4


@dataclass(frozen=True)
class Welcome:
    """File descriptor: the arena. `returns`: from when on the producer comes back if it dies (see
    `protocol.comeback`). `process`: its identity."""

    returns: int
    process: str

    FDS = 1


@dataclass(frozen=True)
class Leave:
    """From a consumer: it wants no more, but may still look at what it has. From a producer: why
    it leaves (see `presence.Left`), and what the `error` is if it has failed; only one that says
    nothing may be taken for dead."""

    why: str = ""
    error: str = ""

    FDS = 0


@dataclass(frozen=True)
class Drain:
    """From a replica: it takes what it was given, and is to be given no more."""

    FDS = 0


Word = Subscribe | Welcome | Leave | Drain

_WORDS: dict[str, type[Subscribe] | type[Welcome] | type[Leave] | type[Drain]] = {
    "subscribe": Subscribe,
    "welcome": Welcome,
    "leave": Leave,
    "drain": Drain,
}


def send_word(sock: socket.socket, word: Word, fds: Sequence[int] = ()) -> None:
    """Raises OSError if the other side is gone or does not read."""
    name = type(word).__name__.lower()
    data = json.dumps({"version": VERSION, "word": name, **asdict(word)}).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_word(sock: socket.socket) -> tuple[Word, list[int]] | None:
    """What came, and the file descriptors that came along; None when the other side is gone.

    Raises BlockingIOError if nothing waits, ValueError for anything that `send_word` cannot send.
    """
    space = socket.CMSG_SPACE(_MOST_FDS * 4)
    try:
        # recv_fds would ignore the flag that keeps descriptors from programs that we start.
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        data, ancillary, result, _ = sock.recvmsg(_LONGEST, space, flags)
    except ConnectionError:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data and not fds:
        return None
    try:
        if result & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            raise ValueError("a message that is too long, or too many open files")
        return _parse(data, len(fds)), list(fds)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Process and user id of who connected (or listens)."""
    size = _CREDENTIALS.size
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return pid, uid


def _parse(data: bytes, fds: int) -> Word:
    try:
        fields: dict[str, Any] = json.loads(data)
        version = fields.pop("version")
        if version != VERSION:
            raise ValueError(f"speaks version {version!r}, this is version {VERSION}")
        kind = _WORDS[fields.pop("word")]
        word = kind(**fields)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no word of ours: {data[:80]!r}") from error
    for name, value in asdict(word).items():
        expected = {"str": str, "int": int}[kind.__annotations__[name]]
        if type(value) is not expected:
            raise ValueError(f"{name} is {value!r}")
    if fds != kind.FDS:
        raise ValueError(f"{fds} file descriptors came with {type(word).__name__}")
    return word
