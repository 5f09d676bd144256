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

logger = logging.getLogger("dora")

WORD = 1.0  # s that a router's word waits for what its node has sent before

Received = tuple[Header, Any]


class DirectSubscription:
    """`call_again()` is told when a connection has ended."""

    def __init__(
        self,
        route: str,
        reader: str,
        limit: int,
        call_again: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self._reader = reader
        self._call_again = call_again
        self._clock = clock
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
        self._more = False  # something was left that the connection does not show
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
            if self.closed:
                return None
            received = self._take_in(at_once=True)
            while received is None:
                received = self._inbox.take()
                if received is None:
                    return None
                message = self._message(received)
                if message is not None:
                    return message
                received = None
        message = self._message(received)
        return self.receive() if message is None else message

    def call(self) -> Call:
        """What to ask the sender for."""
        sender, number = self._last
        return Call(self._route, self._reader, sender, number)

    def connect(self, connection: socket.socket) -> None:
        """To be read from now on, in place of the last one. From any thread."""
        with self._lock:
            if self.closed:
                connection.close()
                return
            self._fresh.append(connection)
            os.eventfd_write(self._wake, 1)

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
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
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
            metadata = header.read_metadata()
            if header.kind is not Kind.DATA:
                return Message(header.kind, header.timestamp, metadata, _no_value)
            if header.form != arrow.IPC:
                arrow.check_size(header.form, len(payload))
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return None
        return Message(Kind.DATA, header.timestamp, metadata, Value(header.form, payload))

    def _take_in(self, at_once: bool = False) -> Received | None:
        """What has come goes into the queue; one alone need not, if `at_once`."""
        found = self._drain(at_once)
        if self._fresh or self._words or self._more:
            if found is not None:
                self._put(*found)
                found = None
            self._look_around()
        return found

    def _look_around(self) -> None:
        """At what other threads have told."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        if self._more:
            self._more = False
            self._drain(at_once=False)
        fresh, self._fresh = self._fresh, []
        for connection in fresh:
            self._hang_up()
            self._say(all_of_them=True)  # they were about the process that was connected before
            self._connection = connection
            self._frames = Frames(partial(transport.read, connection))
            self._epoll.register(connection.fileno(), select.EPOLLIN)
            self._drain(at_once=False)
        self._say(all_of_them=self._connection is None)

    def _say(self, *, all_of_them: bool) -> None:
        """What routers have told, as far as it is not to wait for more from the node."""
        now = self._clock()
        while self._words and (all_of_them or self._words[0][0] <= now):
            header = self._words.popleft()[1]
            self._inbox.put((header, b""), header.kind)
        if self._words:
            self._look_later(self._words[0][0] - now)

    def _look_later(self, seconds: float) -> None:
        def wake() -> None:
            with self._lock:
                self._timer = None
                if not self.closed:
                    os.eventfd_write(self._wake, 1)

        if self._timer is None:
            self._timer = threading.Timer(seconds + 0.001, wake)
            self._timer.daemon = True
            self._timer.start()

    def _drain(self, at_once: bool) -> Received | None:
        """All that had come when this was called, and of a further message what is there."""
        frames = self._frames
        if frames is None:
            return None
        end: int | None = None
        try:
            while (frame := frames.next()) is not None:
                received = self._read(frame)
                if received is None:
                    continue
                if at_once and frames.drained and frames.empty and self._is_next():
                    return received
                at_once = False
                self._put(*received)
                if end is None:
                    end = frames.taken + self._there()
                elif frames.taken >= end:
                    self._more = True
                    os.eventfd_write(self._wake, 1)
                    return None
        except EOFError:
            self._hang_up()
            self._call_again()
        except (OSError, ValueError) as error:
            logger.warning("the connection of %s has ended: %s", self._route, error)
            self._hang_up()
            self._call_again()
        return None

    def _is_next(self) -> bool:
        """Whether nothing comes before the message that was just read, and nothing behind it has
        been read already: TLS may hold more than the socket shows."""
        its = isinstance(self._connection, ssl.SSLSocket)
        return self._inbox.is_empty and not its and not (self._words or self._fresh or self._more)

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

    def _put(self, header: Header, payload: Any) -> None:
        self._inbox.put(
            (header, payload), header.kind, flush=header.flush, precious=header.precious
        )

    def _hang_up(self) -> None:
        connection, self._connection, self._frames = self._connection, None, None
        if connection is not None:
            self._epoll.unregister(connection.fileno())
            connection.close()


class Value:
    """Gives the Arrow array of what came, decoded when it is called."""

    __slots__ = ("_form", "_payload")

    def __init__(self, form: str, payload: Any) -> None:
        self._form = form
        self._payload = payload

    def __call__(self) -> Any:
        return arrow.decode(self._form, self._payload)


def _no_value() -> None:
    return None
