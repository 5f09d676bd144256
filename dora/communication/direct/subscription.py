"""Receives the messages of one route from its sender's process. Node (>= 3.10).

Read by the thread that asks for messages. What waits in the kernel is taken out at each look, so
that the queue's policy is about all that has come.
"""

from __future__ import annotations

import array
import fcntl
import logging
import os
import select
import socket
import ssl
import termios
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.direct import transport
from dora.communication.direct.calling import Call
from dora.communication.direct.frames import Frame, Frames
from dora.communication.gaps import Gaps
from dora.communication.header import Header, unpack
from dora.communication.inbox import Inbox
from dora.metadata import from_json

logger = logging.getLogger("dora")

WORD = 1.0  # s that a router's word waits for what its node has sent before

Received = tuple[Header, Any]


class DirectSubscription:
    """`call_again()` is told when a connection has ended. A `patient` one leaves with the sender
    what its queue has no room for; with `hold` the sender waits for that."""

    def __init__(
        self,
        route: str,
        reader: str,
        limit: int,
        call_again: Callable[[], None],
        *,
        patient: bool = False,
        hold: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self._reader = reader
        self._call_again = call_again
        self._clock = clock
        self._most = limit if patient else None
        self._hold = hold
        self._inbox: Inbox[Received] = Inbox(limit)
        self._gaps = Gaps()
        self._last = 0, 0  # sender and number of the newest
        self._connection: socket.socket | None = None
        self._frames: Frames | None = None
        self._fresh: list[socket.socket] = []  # from the thread that calls
        self._words: deque[tuple[float, Header]] = deque()  # of a router: from when on they count
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._timer: threading.Timer | None = None
        self._news = False  # `_look_around` has something to do
        self._queued = False  # something may be in the inbox
        self._secret = False  # the connection is TLS
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._epoll.register(self._inbox.fileno(), select.EPOLLIN)
        self.closed = False
        self.part: Callable[[], None] = lambda: None  # called when this is closed

    def __repr__(self) -> str:
        state = "connected" if self._connection is not None else "calling"
        return f"<DirectSubscription of {self._route}, {state}>"

    @property
    def dropped(self) -> int:
        """Also what did not come, as far as a later message has shown it."""
        with self._lock:
            if not self.closed:
                self._take_in()
        return self._inbox.dropped + self._gaps.lost

    def fileno(self) -> int:
        return self._epoll.fileno()

    def receive(self) -> Message | None:
        """Messages that no sender of ours can have made are logged and passed over."""
        with self._lock:
            frames = self._frames
            if frames is not None and not self._queued and not self._news:
                frame = self._alone(frames)
                received = None if frame is None else self._read(frame)
                if received is not None:
                    if not self._secret or not self._behind():
                        message = self._message(received)
                        if message is not None:
                            return message
                    else:
                        self._put(received)
            if self.closed:
                return None
            self._take_in()
            while (waiting := self._inbox.take()) is not None:
                message = self._message(waiting)
                if message is not None:
                    return message
            self._queued = False
        return None

    def call(self) -> Call:
        """What to ask the sender for."""
        sender, number = self._last
        return Call(self._route, self._reader, sender, number, self._hold)

    def connect(self, connection: socket.socket) -> None:
        """To be read from now on, in place of the last one. From any thread."""
        with self._lock:
            if self.closed:
                connection.close()
                return
            self._fresh.append(connection)
            self._tell()

    def word(self, data: bytes) -> None:
        """A router speaks of a node that died: after all that it had sent. From any thread."""
        try:
            header = unpack(data)
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return
        if header.kind is Kind.DATA:
            return
        with self._lock:
            if self.closed:
                return
            self._words.append((self._clock() + WORD, header))
            self._tell()

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._frames = None
            if self._timer is not None:
                self._timer.cancel()
            for connection in (self._connection, *self._fresh):
                if connection is not None:
                    connection.close()
            self._inbox.close()
            self._epoll.close()
            os.close(self._wake)
        self.part()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        for connection in (self._connection, *self._fresh):
            if connection is not None:
                os.close(connection.detach())

    def _message(self, received: Received) -> Message | None:
        header, payload = received
        try:
            metadata = from_json(header.metadata) if header.metadata else {}
            if header.kind is not Kind.DATA:
                return Message(header.kind, header.timestamp, metadata, _no_value)
            if header.form != arrow.IPC:
                arrow.check_size(header.form, len(payload))
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return None
        value = partial(arrow.decode, header.form, payload)
        return Message(Kind.DATA, header.timestamp, metadata, value)

    def _take_in(self) -> None:
        """What has come goes into the queue."""
        self._drain()
        if self._news:
            self._look_around()

    def _look_around(self) -> None:
        """At what other threads have told."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        self._news = False
        more = self._drain()
        fresh, self._fresh = self._fresh, []
        for connection in fresh:
            self._hang_up()
            self._say(all_of_them=True)  # they were about the process that was connected before
            self._connection = connection
            self._secret = isinstance(connection, ssl.SSLSocket)
            self._frames = Frames(transport.reader(connection))
            self._epoll.register(connection.fileno(), select.EPOLLIN)
            more = self._drain()
        if not more:
            self._say(all_of_them=self._connection is None)

    def _say(self, *, all_of_them: bool) -> None:
        """What routers have told, as far as it is not to wait for more from the node."""
        now = self._clock()
        while self._words and (all_of_them or self._words[0][0] <= now):
            self._put((self._words.popleft()[1], b""))
        if self._words:
            self._look_later(self._words[0][0] - now)

    def _look_later(self, seconds: float) -> None:
        def wake() -> None:
            with self._lock:
                self._timer = None
                if not self.closed:
                    self._tell()

        if self._timer is None:
            self._timer = threading.Timer(seconds + 0.001, wake)
            self._timer.daemon = True
            self._timer.start()

    def _alone(self, frames: Frames) -> Frame | None:
        try:
            return frames.alone()
        except OSError as error:
            self._broken(error)
            return None

    def _drain(self) -> bool:
        """All that had come when this was called, and of a further message what is there. Whether
        there may be more: then it is looked again."""
        frames = self._frames
        if frames is None:
            return False
        end: int | None = None
        try:
            while True:
                if self._most is not None and self._inbox.waiting >= self._most:
                    self._tell()  # the connection may not show what was read of it already
                    return True
                frame = frames.next()
                if frame is None:
                    return False
                received = self._read(frame)
                if received is not None:
                    self._put(received)
                if end is None:
                    end = frames.taken + self._there()
                elif frames.taken >= end:
                    self._tell()  # the connection may not show what was read of it already
                    return True
        except EOFError:
            self._lose()
        except (OSError, ValueError) as error:
            self._broken(error)
        return False

    def _broken(self, error: Exception) -> None:
        logger.warning("the connection of %s has ended: %s", self._route, error)
        self._lose()

    def _behind(self) -> bool:
        """Whether more has come by TLS, which gives one record after the other."""
        connection: Any = self._connection
        return bool(connection.pending() or self._there())

    def _there(self) -> int:
        count = array.array("i", [0])
        if self._connection is not None:
            fcntl.ioctl(self._connection.fileno(), termios.FIONREAD, count)
        return count[0]

    def _read(self, frame: Frame) -> Received | None:
        """None for what came before already, and for what no sender of ours can have made."""
        try:
            header = unpack(frame.header)
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return None
        if not self._gaps.arrived(header.sender, header.number):
            return None
        self._last = header.sender, header.number
        return header, frame.payload

    def _put(self, received: Received) -> None:
        header = received[0]
        self._queued = True
        self._inbox.put(received, header.kind, flush=header.flush, precious=header.precious)

    def _tell(self) -> None:
        """`receive` has to look around."""
        self._news = True
        os.eventfd_write(self._wake, 1)

    def _hang_up(self) -> None:
        connection, self._connection, self._frames = self._connection, None, None
        if connection is not None:
            self._epoll.unregister(connection.fileno())
            connection.close()

    def _lose(self) -> None:
        self._hang_up()
        self._tell()  # words may have waited for that
        self._call_again()


def _no_value() -> None:
    return None
