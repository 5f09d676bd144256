"""Takes the readers that call a node, and writes what waits for them. A thread in the sender's
process (>= 3.10)."""

from __future__ import annotations

import array
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from dora.communication.direct import calling, transport
from dora.communication.direct.line import Line
from dora.communication.direct.transport import Secrecy
from dora.errors import DoraError

logger = logging.getLogger("dora")

HANDSHAKE = 3.0  # s that a caller may take to show who it is and say what it wants
HASTE = 1.0  # s that it may take while there are many
MOST_CALLERS = 32  # at once that have not yet; half of it are many
PARTING = 2.0  # s that the end of the node waits for readers that take nothing more
TOLD = 16  # different reasons why somebody was refused that are told; strangers may try for ever

Attach = Callable[[calling.Call, socket.socket, Callable[[Line], None]], Line]


class Listener:
    """`path`: the Unix socket to which the machine's router hands callers over. `sends(route)`:
    whether it can be read here; then `attach(call, connection, wants_room)` gives a caller's line.

    Raises DoraError if it cannot listen there.
    """

    def __init__(
        self, path: str, secrecy: Secrecy, sends: Callable[[str], bool], attach: Attach
    ) -> None:
        self._path = path
        self._secrecy = secrecy
        self._sends = sends
        self._attach = attach
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            if os.path.exists(path):
                os.unlink(path)  # of a process of this node that is no more
            self._socket.bind(path)
            self._inode = os.stat(path).st_ino
        except OSError as error:
            self._socket.close()
            raise DoraError(f"readers cannot be let in at {path}: {error.strerror}") from error
        self._socket.setblocking(False)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._hungry: set[Line] = set()  # they want room
        self._callers = 0  # who have not shown yet who they are
        self._leave: float | None = None  # until when, once it is to end
        self._left: list[int] = []  # of each line, when one took something last
        self._is_over: Callable[[], bool] = lambda: False
        self._refused: set[str] = set()  # why somebody was
        self._epoll = select.epoll()
        self._epoll.register(self._socket.fileno(), select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="dora-direct", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Listener for {len(self._lines)} lines>"

    def heed(self, is_over: Callable[[], bool]) -> None:
        """Then readers that are slow are not waited for any more."""
        self._is_over = is_over

    def close(self) -> None:
        """Once readers have taken what waits for them, as long as they do. May be called twice."""
        if threading.current_thread() is self._thread:  # as the garbage collector may be
            threading.Thread(target=self.close, name="dora-parting").start()
            return
        with self._lock:
            if self._leave is not None:
                return
            self._leave = time.monotonic() + PARTING
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        with self._lock:
            for line in self._lines.values():
                line.close()
            self._epoll.close()
            self._socket.close()
            os.close(self._wake)
            self._wake = -1

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        for line in self._lines.values():
            line.abandon()
        for fd in (self._socket.detach(), self._wake):
            os.close(fd)
        self._epoll.close()

    def _run(self) -> None:
        while True:
            for fd, events in self._epoll.poll(-1 if self._leave is None else 0.05):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                elif fd == self._socket.fileno():
                    self._receive()
                else:
                    self._look(fd, events)
            with self._lock:
                hungry, self._hungry = self._hungry, set()
            for line in hungry:
                self._watch(line)
            if self._leave is not None and self._may_leave(self._leave):
                return

    def _may_leave(self, until: float) -> bool:
        now = time.monotonic()
        left = [it.left for it in list(self._lines.values()) if not it.idle]
        if left != self._left and not self._is_over():
            self._left, self._leave = left, now + PARTING
            return not left
        return not left or now > until

    def _look(self, fd: int, events: int) -> None:
        line = self._lines.get(fd)
        if line is None:
            return
        if events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            line.end()
        elif events & select.EPOLLOUT:
            line.flush()
        self._watch(line)

    def _watch(self, line: Line) -> None:
        """For its end, and for room if something waits; a line that ended is forgotten."""
        fd = line.fileno()
        if self._lines.get(fd) is not line:
            return  # not yet: then it is looked at once it is; or not any more
        if line.ended:
            with self._lock:
                del self._lines[fd]
                self._epoll.unregister(fd)
            line.close()
            return
        self._epoll.modify(fd, select.EPOLLRDHUP | (0 if line.idle else select.EPOLLOUT))

    def _want_room(self, line: Line) -> None:
        with self._lock:
            if self._wake >= 0:
                self._hungry.add(line)
                os.eventfd_write(self._wake, 1)

    def _receive(self) -> None:
        while True:
            try:
                _, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    for fd in array.array("i", data[: len(data) - len(data) % 4]):
                        self._welcome(socket.socket(fileno=fd))

    def _welcome(self, raw: socket.socket) -> None:
        with self._lock:
            there = self._callers
            if self._leave is not None or there >= MOST_CALLERS:
                raw.close()  # it calls again
                return
            self._callers += 1
        seconds = HANDSHAKE if there < MOST_CALLERS // 2 else HASTE
        threading.Thread(
            target=self._shake_hands, args=(raw, seconds), name="dora-caller", daemon=True
        ).start()

    def _shake_hands(self, raw: socket.socket, seconds: float) -> None:
        connection = raw
        try:
            transport.prepare(raw, sends=True)
            raw.settimeout(seconds)
            until = time.monotonic() + seconds
            connection = self._secrecy.wrap(raw, server=True)
            length = calling.length_of(_exactly(connection, calling.LENGTH_BYTES, until))
            call = calling.Call.from_text(_exactly(connection, length, until))
            if not self._sends(call.route):
                raise ValueError(f"{call.reader} wants {call.route}, which is not sent here")
            connection.sendall(calling.ACCEPTED)
            connection.setblocking(False)
            if not self._join(call, connection):
                connection.close()
        except (OSError, ValueError, EOFError) as error:
            connection.close()
            if str(error) not in self._refused and len(self._refused) < TOLD:
                self._refused.add(str(error))  # it will come again and again
                logger.warning("a reader was not let in: %s", error)
        finally:
            with self._lock:
                self._callers -= 1

    def _join(self, call: calling.Call, connection: socket.socket) -> bool:
        with self._lock:
            if self._leave is not None:
                return False
        line = self._attach(call, connection, self._want_room)
        with self._lock:
            if self._wake < 0:
                line.close()
                return True
            self._epoll.register(line.fileno(), select.EPOLLRDHUP)
            self._lines[line.fileno()] = line
            self._hungry.add(line)
            os.eventfd_write(self._wake, 1)
        return True


def _exactly(connection: socket.socket, count: int, until: float) -> bytes:
    data = b""
    while len(data) < count:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError("it hung up")
        data += more
    return data
