"""Receives sd_notify messages, one socket per unit. Machine only; Python >= 3.8.

The socket says who speaks: a process id in the message's credentials would be wrong for a message
that a unit's child sends, and across PID namespaces.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from typing import Callable, Dict, List, Tuple

from deploy.supervisor.files import remove
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout, private

MOST_DESCRIPTORS = 16  # in one message; the kernel closes what is beyond


class Notifications:
    """Tells what units say. STOPPING and others are taken, not used.

    Beside what sd_notify knows there is X_DEPLOYMENT=done, for `on_done(key)`: the deployment that
    the unit belongs to has done its work.

    `on_ready(key)` is for READY=1, `on_alive(key)` for WATCHDOG=1, `on_unwatched(key)` for
    WATCHDOG_USEC=0, `on_status(key, text)` for STATUS=text, and for FDSTORE=1 with FDNAME
    `on_store(key, name, descriptor)`; the descriptor is the callee's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        layout: Layout,
        *,
        on_ready: Callable[[Key], None],
        on_alive: Callable[[Key], None],
        on_unwatched: Callable[[Key], None],
        on_status: Callable[[Key, str], None],
        on_store: Callable[[Key, str, int], None],
        on_done: Callable[[Key], None],
        on_refusal: Callable[[Key], None],
    ) -> None:
        self._loop = loop
        self._layout = layout
        self._on_ready = on_ready
        self._on_alive = on_alive
        self._on_unwatched = on_unwatched
        self._on_status = on_status
        self._on_store = on_store
        self._on_done = on_done
        self._on_refusal = on_refusal
        self._sockets: Dict[Key, socket.socket] = {}

    def open(self, key: Key) -> None:
        """Listens anew, for a unit that is about to start or was adopted. Raises OSError."""
        self.close(key)
        path = self._layout.notify(*key)
        private(path.parent)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            receiver.bind(str(path))
            os.chmod(str(path), 0o600)
        except OSError:
            receiver.close()
            raise
        self._add(key, receiver)

    def take(self, key: Key, descriptor: int) -> None:
        """Goes on with a socket that was inherited, and with what waits in it."""
        os.set_inheritable(descriptor, False)
        self._add(key, socket.socket(fileno=descriptor))

    def close(self, key: Key) -> None:
        receiver = self._sockets.pop(key, None)
        if receiver is not None:
            self._loop.remove_reader(receiver)
            receiver.close()
        remove(self._layout.notify(*key))

    def give(self) -> Dict[Key, int]:
        """The descriptors, open for a program that is executed in our place."""
        for receiver in self._sockets.values():
            receiver.set_inheritable(True)
        return {key: receiver.fileno() for key, receiver in self._sockets.items()}

    def keep(self) -> None:
        """After `give`, when that program was not executed after all."""
        for receiver in self._sockets.values():
            receiver.set_inheritable(False)

    def leave(self) -> None:
        """Stops listening, but leaves the files to whoever comes next."""
        for receiver in self._sockets.values():
            self._loop.remove_reader(receiver)
            receiver.close()
        self._sockets.clear()
        try:
            self._layout.notifications.rmdir()
        except OSError:
            pass  # there are units left, or there never were any

    def _add(self, key: Key, receiver: socket.socket) -> None:
        receiver.setblocking(False)
        self._sockets[key] = receiver
        self._loop.add_reader(receiver, self._receive, key, receiver)

    def _receive(self, key: Key, receiver: socket.socket) -> None:
        for _ in range(100):  # then others get their turn
            try:
                message, descriptors = _receive(receiver)
            except BlockingIOError:
                return
            lines = message.split(b"\n")
            stored = b"FDSTORE=1" in lines
            names = [line[len(b"FDNAME=") :] for line in lines if line.startswith(b"FDNAME=")]
            for descriptor in descriptors:
                if stored and names:
                    self._on_store(key, names[0].decode(errors="replace"), descriptor)
                else:
                    os.close(descriptor)
            for line in lines:
                if line.startswith(b"STATUS="):
                    self._on_status(key, line[len(b"STATUS=") :].decode(errors="replace"))
            if b"WATCHDOG=1" in lines:
                self._on_alive(key)
            if b"WATCHDOG_USEC=0" in lines:
                self._on_unwatched(key)
            if b"READY=1" in lines:
                self._on_ready(key)
            if any(line.startswith(b"ERRNO=") for line in lines):
                self._on_refusal(key)
            if b"X_DEPLOYMENT=done" in lines:
                self._on_done(key)
            if self._sockets.get(key) is not receiver:
                return


def _receive(receiver: socket.socket) -> Tuple[bytes, List[int]]:
    """A message and the descriptors that came with it, not inheritable. Raises BlockingIOError."""
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(MOST_DESCRIPTORS * descriptors.itemsize)
    message, ancillary, _, _ = receiver.recvmsg(4096, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)
