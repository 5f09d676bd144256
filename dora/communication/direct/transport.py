"""One connection: bytes through TCP, or through TLS 1.3 by the machines' own keys. Node (>= 3.10).

A link without a sign of life for a few seconds counts as dead for its reader, which calls again.
What is written waits in the process rather than in the kernel, where nothing newer could take its
place.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from dora.communication.zenoh.session import LEASE
from dora.protocol.config import Links

_UNSENT = 512 * 1024  # bytes that the kernel may hold beside those that are on the way
_RECORD = 16 * 1024  # bytes that TLS sends at once
_BUSY = 60_000  # ms that a reader may take nothing; one that was cut off calls again long before
_MOST = 16  # buffers in one system call

Buffers = list[Any]  # memoryviews of bytes


class Secrecy:
    """Who one is and whom one trusts, by `Links`; None of it with `insecure`. Raises OSError if
    the files are not there or are not what they should be (ssl.SSLError is one)."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def trust(self, links: Links) -> None:
        """From now on; connections that are there stay. From any thread."""
        if links != self._links:
            self._links, self._contexts = links, {}

    def wrap(self, raw: socket.socket, *, server: bool) -> socket.socket:
        """The connection on which to talk, once both have shown who they are; takes as long as
        the timeout of `raw`. Raises OSError."""
        contexts, links = self._contexts, self._links  # `trust` gives others
        if links.insecure:
            return raw
        if server not in contexts:
            contexts[server] = _context(links, server)
        return contexts[server].wrap_socket(raw, server_side=server)


def _context(links: Links, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # as between routers: the authorities are one for each machine
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=links.authorities)
    context.load_cert_chain(links.certificate, links.key)
    return context


def prepare(raw: socket.socket, *, sends: bool) -> None:
    """For both ends of a connection, before anything is said. Who `sends` has more patience: to its
    kernel a reader that is merely busy is as silent as one that is gone."""
    silence = _BUSY if sends else 2 * LEASE
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence)
    raw.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def reader(connection: socket.socket) -> Callable[[memoryview], int]:
    """Puts what came there: how many bytes, 0 at the end. Raises BlockingIOError if there is none
    yet, OSError."""
    if not isinstance(connection, ssl.SSLSocket):
        return connection.recv_into

    def read(into: memoryview) -> int:
        """TLS gives one record after the other; of a large message there are many."""
        count = 0
        try:
            while count < len(into):
                more = connection.recv_into(into[count:])
                count += more
                if more < _RECORD:  # 0: the end, which is told anew the next time
                    break
        except ssl.SSLWantReadError:
            if not count:
                raise BlockingIOError from None
        except ssl.SSLEOFError:
            pass
        except OSError:
            if not count:
                raise
        return count  # what came before it broke; the next read tells of that

    return read


def write(
    connection: socket.socket, buffers: Buffers, patience: float, most: float = 0.0
) -> Buffers:
    """What is left of the buffers when the link has taken nothing more for `patience` seconds, or
    not all of it in about `most`. Raises OSError."""
    until = time.monotonic() + most
    while buffers:
        try:
            count = _push(connection, buffers)
        except (BlockingIOError, ssl.SSLWantWriteError):
            if not patience or time.monotonic() > until or not _has_room(connection, patience):
                return buffers
            continue
        buffers = behind(buffers, count)
    return buffers


def _push(connection: socket.socket, buffers: Buffers) -> int:
    if not isinstance(connection, ssl.SSLSocket):
        return connection.sendmsg(buffers[:_MOST])
    first = buffers[0]
    if len(first) < _RECORD and len(buffers) > 1:
        # The same bytes again after it wanted to wait, as TLS asks for: they are cut alike.
        first = b"".join((first, buffers[1][: _RECORD - len(first)]))
    count = 0
    try:
        while count < len(first):  # a record each time
            count += connection.send(first[count:])
    except ssl.SSLWantWriteError:
        if not count:
            raise
    return count


def _has_room(connection: socket.socket, patience: float) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLOUT)
    return bool(poll.poll(patience * 1000))


def behind(buffers: Buffers, count: int) -> Buffers:
    """What is left after so many bytes."""
    for i, buffer in enumerate(buffers):
        if count < len(buffer):
            return [buffer[count:] if count else buffer, *buffers[i + 1 :]]
        count -= len(buffer)
    return []


def views(parts: Sequence[Any]) -> Buffers:
    """Those that are not empty, as memoryviews of bytes."""
    found = (memoryview(it).cast("B") for it in parts)
    return [it for it in found if len(it)]
