"""A port for a program that is started by a test, and that nobody else gets meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """One of loopback, on which nobody listens yet.

    A socket of ours is bound to it and never listens. Linux then gives that port to nobody who asks
    for any, neither to listen nor to connect from; who asks for this very one with SO_REUSEADDR, as
    servers do, gets it, and may come and go as long as this lasts.
    """
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", 0))
        yield int(ours.getsockname()[1])
