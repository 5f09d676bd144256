"""Hears what a node says of itself, in a supervisor's place."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dora.protocol.traffic import Traffic
from tests.dora.harness import Playground


class Ear:
    """`env` is for the node that it listens to."""

    def __init__(self, area: Playground, name: str) -> None:
        path = str(area.folder / f"{name}.notify")
        self.env = {"NOTIFY_SOCKET": path}
        self._last = Traffic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)

    def traffic(self) -> Traffic:
        """What has gone through the node, as it said last; it does so about once a second."""
        try:
            while True:
                text = self._socket.recv(4096).decode()
                if text.startswith("STATUS="):
                    self._last = Traffic.from_text(text.removeprefix("STATUS="))
        except BlockingIOError:
            return self._last

    def close(self) -> None:
        self._socket.close()


@contextmanager
def ear(area: Playground, name: str) -> Iterator[Ear]:
    """To be given to the node `name` when it is started, with `ready=False`."""
    found = Ear(area, name)
    try:
        yield found
    finally:
        found.close()
