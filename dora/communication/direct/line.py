"""The sender's end of one connection: a reader, and what waits for it. Node (>= 3.10).

What the link takes at once is written by the thread that sends. When it takes no more, the rest
waits here and goes on as there is room, by another thread: then the newest wins. Of an output that
is reliable as much waits as it keeps.
"""

from __future__ import annotations

import array
import fcntl
import math
import os
import socket
import ssl
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dora.communication.direct import transport

WAITING = 16  # messages that wait for a link that takes no more
WAITING_BYTES = 16 * 1024 * 1024  # of them together, unless it is one
PATIENCE = 0.02  # s that a sender waits for a link that has taken nothing more
IN_ALL = 0.1  # s that it waits for one that takes little, a message
HELD = 1.0  # s that it waits, whatever it is in all, for a reader that may hold it back
STUCK = 1.0  # s that a link has taken nothing of what waits


class Outgoing(NamedTuple):
    """A message: what stands before the payload, the payload, whether it is dropped last."""

    head: bytes
    payload: Any
    precious: bool = False

    def kept(self) -> Outgoing:
        """With a payload that nobody changes."""
        if isinstance(self.payload, bytes):
            return self
        return self._replace(payload=bytes(memoryview(self.payload)))


class Line:
    """`wants_room(line)` is called when something waits: then somebody has to `flush` whenever the
    connection has room, and `close` once it has ended. `limit`: so many messages wait, and no bytes
    are counted; 0: the usual. `hold`: whether the reader may hold the sender back."""

    def __init__(
        self,
        connection: socket.socket,
        reader: str,
        wants_room: Callable[[Line], None],
        limit: int,
        *,
        hold: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reader = reader
        self._connection = connection
        self._wants_room = wants_room
        self._limit = limit
        self._patience = (HELD, math.inf) if hold else (PATIENCE, IN_ALL)
        self._clock = clock
        self._lock = threading.Lock()
        self._rest: transport.Buffers = []  # of the message that is on the way
        self._waiting: deque[Outgoing] = deque()
        self._bytes = 0
        self._ended = False
        self._moved = 0.0  # when the link took something of what waited
        secret = isinstance(connection, ssl.SSLSocket)
        self._write_all = None if secret else connection.sendmsg

    def __repr__(self) -> str:
        return f"<Line to {self.reader}, {len(self._waiting)} waiting>"

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def idle(self) -> bool:
        """Nothing waits, or nothing ever will go."""
        return self._ended or not (self._rest or self._waiting)

    @property
    def stuck(self) -> bool:
        """Nothing of what waits has gone for a while."""
        return not self.idle and self._clock() - self._moved > STUCK

    @property
    def left(self) -> int:
        """Bytes that its reader's machine does not have yet."""
        count = array.array("i", [0])
        with self._lock:
            if self._ended:
                return 0
            fcntl.ioctl(self._connection.fileno(), termios.TIOCOUTQ, count)
            return count[0] + sum(map(len, self._rest)) + self._bytes

    def fileno(self) -> int:
        return self._connection.fileno()

    def begin(self, messages: Iterable[Outgoing]) -> None:
        """They go first."""
        with self._lock:
            self._waiting.extend(messages)
            self._bytes = sum(len(it.payload) for it in self._waiting)
            self._moved = self._clock()
            waits = bool(self._waiting)
        if waits:
            self._wants_room(self)

    def send(self, head: bytes, payload: Any, precious: bool = False) -> None:
        """Never raises; a connection that broke has `ended`."""
        with self._lock:
            if self._ended:
                return
            if self._rest or self._waiting:
                if not self._caught_up():
                    self._wait(Outgoing(head, payload, precious).kept())
                    return
                if self.ended:  # meanwhile
                    return
            if self._write_all is not None:  # the short way: a function costs as much as the rest
                try:
                    count = self._write_all((head, payload))
                except BlockingIOError:
                    count = 0
                except OSError:
                    self._end()
                    return
                if count == len(head) + len(payload):
                    return
                self._rest = transport.behind(transport.views((head, payload)), count)
            else:
                self._rest = transport.views((head, payload))
            self._write(self._rest, *self._patience)
            if not self._rest:
                return
            self._rest = transport.views([bytes(it) for it in self._rest])
            self._moved = self._clock() - self._patience[0]
        self._wants_room(self)

    def flush(self) -> bool:
        """As much as there is room for; whether more waits. Never waits: a thread that is sending
        does the same, and says so if something is left."""
        if not self._lock.acquire(blocking=False):
            return True
        try:
            return self._flush()
        finally:
            self._lock.release()

    def end(self) -> None:
        """Hangs up; what waits is thrown away. From any thread. May be called twice."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """Gives the descriptor back. By whoever watches it, who would else take the next one with
        its number for this. May be called twice."""
        with self._lock:
            self._end()
            self._connection.close()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        os.close(self._connection.detach())

    def _caught_up(self) -> bool:
        """Whether nothing waits any more: a reader that holds the sender back gets all of it first,
        unless it takes nothing at the moment."""
        patience, in_all = self._patience
        if patience < HELD or self._clock() - self._moved >= HELD:
            return False
        return not self._flush(patience, in_all)

    def _flush(self, patience: float = 0.0, in_all: float = 0.0) -> bool:
        while not self._ended:
            if not self._rest:
                if not self._waiting:
                    return False
                message = self._waiting[0]
                self._rest = transport.views(message[:2])  # first, or it is `idle` for a moment
                self._waiting.popleft()
                self._bytes -= len(message.payload)
            before = self._rest
            self._write(before, patience, in_all)
            if self._rest is not before:
                self._moved = self._clock()
            if self._rest:
                return True
        return False

    def _write(
        self, buffers: transport.Buffers, patience: float = 0.0, in_all: float = 0.0
    ) -> None:
        try:
            self._rest = transport.write(self._connection, buffers, patience, in_all)
        except OSError:
            self._end()  # the reader calls again if it is still there

    def _wait(self, message: Outgoing) -> None:
        self._waiting.append(message)
        self._bytes += len(message.payload)
        if self._limit:
            excess = len(self._waiting) > self._limit
        else:
            excess = len(self._waiting) > WAITING or self._bytes > WAITING_BYTES
        while excess and len(self._waiting) > 1:
            index = next((i for i, it in enumerate(self._waiting) if not it.precious), 0)
            self._bytes -= len(self._waiting[index].payload)
            del self._waiting[index]
            excess = not self._limit and self._bytes > WAITING_BYTES

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._rest = []
        self._waiting.clear()
        self._bytes = 0
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the reader has gone already
