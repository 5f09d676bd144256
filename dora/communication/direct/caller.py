"""Calls the sender of one route until it answers. A thread in the reader's process (>= 3.10)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

from dora.communication.direct import calling, transport
from dora.communication.direct.transport import Secrecy

logger = logging.getLogger("dora")

FIRST, LAST = 0.05, 0.5  # s between two calls
CONNECT = 1.0  # s
ANSWER = 3.0  # s for all that is said before the first message
BRIEF = 1.0  # s; after a connection that has lasted for less, there is a pause as well
TELL = 5.0  # s without an answer until it is said why


class Caller:
    """`at`: `host:port` of the machine's router. `call()` is what to say now. Who answers is given
    to `answered(connection)`, in this thread, which then waits until `again`."""

    def __init__(
        self,
        at: str,
        node: str,
        secrecy: Secrecy,
        call: Callable[[], calling.Call],
        answered: Callable[[socket.socket], None],
    ) -> None:
        self._at = at
        self._node = node
        self._secrecy = secrecy
        self._call = call
        self._answered = answered
        self._again = threading.Event()
        self._ended = threading.Event()
        self._again.set()
        self._thread = threading.Thread(target=self._run, name="dora-caller", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Caller of {self._node} at {self._at}>"

    def again(self) -> None:
        """The connection has ended."""
        self._again.set()

    def end(self) -> None:
        """Does not wait for a call that is under way. May be called twice."""
        self._ended.set()
        self._again.set()

    def _run(self) -> None:
        pause, silent = FIRST, 0.0
        since: float | None = None  # when the last connection was made
        while self._again.wait() and not self._ended.is_set():
            if since is not None:
                if time.monotonic() - since < BRIEF:
                    self._ended.wait(pause)
                    pause = min(2 * pause, LAST)
                else:
                    pause = FIRST
                since = None
            try:
                connection = self._connect()
            except (OSError, EOFError, ValueError) as error:
                silent += pause
                if silent - pause < TELL <= silent:
                    logger.warning(
                        "no answer from %s of %s by now (it is tried again): %s",
                        self._node,
                        self._at,
                        error,
                    )
                self._ended.wait(pause)
                pause = min(2 * pause, LAST)
                continue
            silent, since = 0.0, time.monotonic()
            self._again.clear()
            if self._ended.is_set():
                connection.close()
                return
            self._answered(connection)

    def _connect(self) -> socket.socket:
        """Raises OSError, EOFError, ValueError."""
        host, _, port = self._at.rpartition(":")
        raw = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT)
        connection = raw
        try:
            transport.prepare(raw, sends=False)
            raw.settimeout(ANSWER)
            raw.sendall(calling.want(self._node))
            connection = self._secrecy.wrap(raw, server=False)
            connection.sendall(self._call().to_bytes())
            answer = b""
            while len(answer) < len(calling.ACCEPTED):
                more = connection.recv(len(calling.ACCEPTED) - len(answer))
                if not more:
                    raise EOFError(f"{self._node} is not there, or does not send it")
                answer += more
            if answer != calling.ACCEPTED:
                raise ValueError("it is another version of dora")
            connection.setblocking(False)
        except BaseException:
            connection.close()
            raise
        return connection
