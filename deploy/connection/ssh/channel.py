"""A channel of an SSH connection: a command's stdin and stdout, or a Unix socket. Laptop only."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from deploy.connection.ssh.library import asyncssh
from deploy.connection.ssh.sessions import Sessions
from deploy.connection.stream import PIECE, Gate, Inbox, Tail
from deploy.errors import CommandFailed, ConnectionLost, MachineError


class SshChannel:
    """The deploy.connection.base.Channel; fed by `Feed`."""

    def __init__(
        self,
        machine: str,
        *,
        command: str | None = None,
        raw: bool = False,
        why_dead: Callable[[], ConnectionLost | None],
        stderr: Tail | None = None,
    ) -> None:
        """`command` is None for a socket. `raw`: the end of stdout is the end, however the command
        ended. `why_dead` tells whether the connection has died."""
        self._machine = machine
        self._command = command
        self._raw = raw
        self._why_dead = why_dead
        self._chan: Any = None  # SSHClientChannel or SSHUNIXChannel: the same, as far as used
        self._eof_received = False
        self._over: MachineError | None = None  # why nothing can be written any more
        self.status: int | None = None
        self.stderr = stderr or Tail()
        self.gate = Gate()
        self.inbox = Inbox(machine, self._pause, self._resume)

    def __repr__(self) -> str:
        what = f"`{self._command}`" if self._command is not None else "socket"
        return f"<SshChannel to {self._machine}, {what}: {self._over or 'open'}>"

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            if self._over is not None:
                raise self._over
            try:
                self._chan.write(bytes(view[start : start + PIECE]))
            except (OSError, asyncssh.Error):
                raise self._gone() from None
            await self.gate.passed()
        if self._over is not None:
            raise self._over

    async def write_eof(self) -> None:
        if self._over is None:
            try:
                self._chan.write_eof()
            except (OSError, asyncssh.Error):
                raise self._gone() from None

    async def send_all(self, data: bytes) -> None:
        """Writes a command's whole stdin and ends it; a command need not read it."""
        try:
            await self.write(data)
            await self.write_eof()
        except MachineError:
            pass  # if the connection died, reading the output says so

    async def read(self, limit: int = 262144) -> bytes:
        return await self.inbox.read(limit)

    async def readline(self) -> bytes:
        return await self.inbox.readline()

    async def close(self) -> None:
        self._end(self._gone())
        if self._chan is not None:
            self._chan.close()

    # From asyncssh's callbacks

    def opened(self, chan: Any) -> None:
        self._chan = chan
        chan.set_write_buffer_limits(high=2 * PIECE)

    def eof(self) -> None:
        self._eof_received = True
        if self._command is None:
            self.inbox.end()
        elif self.status is not None:
            self._settle()

    def exited(self, status: int) -> None:
        self.status = status
        if self._eof_received:
            self._settle()

    def lost(self, error: Exception | None) -> None:
        """The channel is closed, by whatever end, or its connection has died of `error`."""
        dead = self._why_dead()
        if dead is None and error is not None:
            dead = ConnectionLost(self._machine, f"the connection died: {error}")
        if self.status is not None:
            self._settle()
        else:
            # asyncssh reports a command whose connection died as one without a status.
            self._end(dead or self._gone())
        self._over = self._over or self._gone()
        self.gate.resume_writing()

    def _settle(self) -> None:
        if self.status == 0 or self._raw or self._command is None:
            self.inbox.end()
            return
        assert self.status is not None
        self._end(CommandFailed(self._machine, self._command, self.status, self.stderr.text))

    def _end(self, error: MachineError) -> None:
        self._over = self._over or error
        self.inbox.end(error)

    def _gone(self) -> ConnectionLost:
        dead = self._why_dead()
        if dead is not None:
            return dead
        what = f"`{self._command}`" if self._command is not None else "the other side"
        complaint = self.stderr.text.strip()
        tail = f": {complaint}" if complaint else ""
        return ConnectionLost(self._machine, f"{what} has closed the channel{tail}")

    def _pause(self) -> None:
        if self._chan is not None:
            self._chan.pause_reading()

    def _resume(self) -> None:
        if self._chan is not None:
            self._chan.resume_reading()


class Feed(asyncssh.SSHClientSession, asyncssh.SSHUNIXSession):  # type: ignore[type-arg]
    """asyncssh's callbacks, handed to a channel; serves for commands and for sockets."""

    def __init__(self, channel: SshChannel, sessions: Sessions) -> None:
        """`sessions` is entered for it already, and is left once."""
        self._channel = channel
        self._sessions = sessions
        self._open = False
        self._entered = True

    def forget(self) -> None:
        """The channel did not come about, or is over."""
        if self._entered:
            self._entered = False
            self._sessions.leave(self._open)

    def connection_made(self, chan: Any) -> None:
        self._channel.opened(chan)
        if self._entered:
            self._open = True
            self._sessions.opened()

    def data_received(self, data: Any, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._channel.stderr.feed(data)
        else:
            self._channel.inbox.feed(data)

    def eof_received(self) -> bool:
        self._channel.eof()
        return True  # our side stays open

    def exit_status_received(self, status: int) -> None:
        self._channel.exited(status)

    def exit_signal_received(self, name: str, core: bool, message: str, language: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        self._channel.exited(128 + int(number) if number is not None else 255)

    def pause_writing(self) -> None:
        self._channel.gate.pause_writing()

    def resume_writing(self) -> None:
        self._channel.gate.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._channel.lost(error)
        self.forget()
