"""Hands readers of other machines over to the nodes that they want. In the machine's router.

It reads one name and passes the connection on, unseen: who is let in decides the node. A router
that dies takes no connection along.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from collections.abc import Callable

from dora.communication.direct import calling
from dora.errors import DoraError

logger = logging.getLogger("dora.router")

PATIENCE = 3.0  # s until somebody has to have said what it wants
PAUSE = 1.0  # s without listening when nobody can be taken
MOST = 128  # connections at once that have not
AT_ONCE = 64  # connections that are taken before the router does something else

_BACKLOG = 128


class Door:
    """`at`: `host:port`; `router`: its socket. Raises DoraError if it cannot listen."""

    def __init__(self, at: str, router: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._router = router
        self._clock = clock
        host, _, port = at.rpartition(":")
        family = socket.AF_INET6 if "[" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host.strip("[]"), int(port)))
            self._listener.listen(_BACKLOG)
        except OSError as error:
            self._listener.close()
            raise DoraError(f"it cannot listen on TCP {at}: {error.strerror}") from error
        self._listener.setblocking(False)
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._callers: dict[int, tuple[socket.socket, float]] = {}  # until when
        self._deaf: float | None = None  # until when, if it cannot take anybody
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def __repr__(self) -> str:
        return f"<Door, {len(self._callers)} in it>"

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def fileno(self) -> int:
        return self._epoll.fileno()

    def serve(self) -> None:
        """To be called when `fileno` is readable, and now and then. Never blocks."""
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            elif fd in self._callers:
                self._hear(fd)
        now = self._clock()
        if self._deaf is not None and self._deaf < now:
            self._deaf = None
            self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        for fd in [fd for fd, (_, until) in self._callers.items() if until < now]:
            self._drop(fd)

    def close(self) -> None:
        for fd in list(self._callers):
            self._drop(fd)
        self._epoll.close()
        self._listener.close()
        self._out.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                caller, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # too many files; it would be told so without end
                logger.warning("readers of other machines are not let in for now: %s", error)
                self._epoll.unregister(self._listener.fileno())
                self._deaf = self._clock() + PAUSE
                return
            caller.setblocking(False)
            if len(self._callers) >= MOST:
                self._drop(next(iter(self._callers)))
            self._callers[caller.fileno()] = caller, self._clock() + PATIENCE
            # Only news: who has said half of it is readable all the time.
            self._epoll.register(caller.fileno(), select.EPOLLIN | select.EPOLLET)

    def _hear(self, fd: int) -> None:
        """What it says is only taken out of the stream once it is whole: the rest is the node's."""
        caller = self._callers[fd][0]
        try:
            data = caller.recv(calling.LONGEST_WANT, socket.MSG_PEEK)
        except BlockingIOError:
            return  # it was about another one that had this descriptor a moment ago
        except OSError:
            self._drop(fd)
            return
        try:
            said = calling.wanted(data) if data else None
            if said is None:
                if not data:
                    self._drop(fd)
                return
            node, length = said
            caller.recv(length)
            hold = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
            self._out.sendmsg([b"\n"], hold, 0, calling.socket_of(self._router, node))
        except (BlockingIOError, ValueError):
            pass  # a node that has no room at the moment is called again
        except OSError:
            pass  # the caller has gone, or the node is not there: it is called again
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._callers.pop(fd)[0].close()  # the node has its own hold of it
