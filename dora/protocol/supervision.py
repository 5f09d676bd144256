"""What a unit and whoever keeps it running tell each other. Runs in nodes and routers (>= 3.10).

The unit says that it is ready by sd_notify; the other side asks it to leave with a line on a FIFO.
"""

from __future__ import annotations

import logging
import os
import socket

CONTROL = "DEPLOY_CONTROL"  # path of the FIFO
RESTARTS = "DEPLOY_RESTARTS"  # how often the process was restarted
NOTIFY_SOCKET = "NOTIFY_SOCKET"

STOP = "stop"

_LONGEST_LINE = 4096

logger = logging.getLogger("dora")


class ControlPipe:
    """The reading end of the FIFO in $DEPLOY_CONTROL.

    Held open for writing too, so that it never reads as ended when a writer goes.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError if the FIFO cannot be opened."""
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    @classmethod
    def from_environment(cls) -> ControlPipe | None:
        """None outside of a supervised process. Raises OSError as the constructor."""
        path = os.environ.get(CONTROL)
        return cls(path) if path else None

    def fileno(self) -> int:
        return self._fd

    def read_lines(self) -> list[str]:
        """The complete lines that have come; never blocks."""
        try:
            data = os.read(self._fd, _LONGEST_LINE)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        return [line.decode("utf-8", "replace").strip() for line in lines]

    def close(self) -> None:
        """May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def notify_ready() -> None:
    """Tells $NOTIFY_SOCKET, if there is one, that this process is ready.

    A listener that is away (killed, and not yet replaced) is no reason not to run.
    """
    path = os.environ.get(NOTIFY_SOCKET)
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(b"READY=1\n", address)
        except OSError as error:
            logger.warning("nobody to tell that this process is ready (%s): %s", path, error)
