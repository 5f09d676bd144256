"""stdin and stdout joined to the supervisor's socket, where SSH may not forward it."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

BLOCK = 64 * 1024


def bridge(path: Path) -> int:
    """Returns an exit status when one side has ended. Raises OSError when nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(str(path))
        sources = [0, peer.fileno()]
        while True:
            ready, _, _ = select.select(sources, [], [])
            try:
                if 0 in ready:
                    data = os.read(0, BLOCK)
                    if data:
                        peer.sendall(data)
                    else:
                        peer.shutdown(socket.SHUT_WR)
                        sources.remove(0)
                if peer.fileno() in ready:
                    data = peer.recv(BLOCK)
                    if not data:
                        return 0
                    _write(data)
            except (BrokenPipeError, ConnectionResetError):
                return 0


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
