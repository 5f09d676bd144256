"""This very machine as a Connection: commands by subprocess, no SSH. Laptop only."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import cast

from deploy.connection.base import Channel, Completed
from deploy.connection.stream import PIECE, STDERR_MOST, Gate, Inbox, Tail
from deploy.errors import CommandFailed, ConnectionLost, MachineError
from deploy.inventory import Machine

PATIENCE = 2.0  # seconds that a command has to end after SIGHUP, before SIGKILL


def environment(home: Path) -> dict[str, str]:
    """What a command gets that pretends to have logged in: nothing of ours but the language, and
    a Python, which need not be where this machine's others are."""
    python = str(Path(sys.base_prefix, "bin"))
    return {
        "PATH": ":".join([python, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
        "HOME": str(home),
        "USER": getpass.getuser(),
        "LOGNAME": getpass.getuser(),
        "SHELL": "/bin/sh",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }


class LocalConnector:
    """Leads every machine to this one, with the given home folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._connections: list[LocalConnection] = []

    async def connect(self, machine: Machine) -> LocalConnection:
        connection = LocalConnection(machine, self._home)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


class LocalConnection:
    """Commands that it started end with it (SIGHUP to their process group), unless they made a
    session of their own."""

    def __init__(self, machine: Machine, home: Path) -> None:
        self.machine = machine
        self._home = home
        self._closed = asyncio.Event()
        self._channels: set[_Local] = set()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else "open"
        return f"<LocalConnection to {self.machine.id}, home {self._home}: {state}>"

    async def run(self, argv: list[str], stdin: bytes = b"", *, timeout: float = 60) -> Completed:
        command = await self._start(argv, Tail(STDERR_MOST), raw=True)
        try:
            async with asyncio.timeout(timeout):
                _, out = await asyncio.gather(command.send(stdin), command.inbox.read_all())
        except TimeoutError:
            raise MachineError(
                self.machine.id,
                f"`{shlex.join(argv)}` has not ended after {timeout:g} s; it may still be running",
            ) from None
        finally:
            await command.close()
        assert command.status is not None
        return Completed(command.status, out, command.stderr.text)

    async def open_command(self, argv: list[str]) -> Channel:
        return await self._start(argv, Tail(), raw=False)

    async def open_socket(self, path: str) -> Channel:
        self._check()
        loop = asyncio.get_running_loop()
        try:
            _, socket = await loop.create_unix_connection(lambda: _Socket(self), path)
        except OSError as error:
            raise MachineError(
                self.machine.id, f"nobody listens at {path}: {error.strerror or error}"
            ) from None
        return socket

    async def closed(self) -> None:
        await self._closed.wait()

    async def close(self) -> None:
        self._closed.set()
        channels = list(self._channels)
        for channel in channels:
            channel.give_up(self.lost())
            channel.signal(signal.SIGHUP)
            await channel.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(channel.done.wait() for channel in channels))
        except TimeoutError:
            for channel in channels:
                channel.signal(signal.SIGKILL)
            await asyncio.gather(*(channel.done.wait() for channel in channels))

    def lost(self) -> ConnectionLost:
        return ConnectionLost(self.machine.id, "the connection was closed")

    def joined(self, channel: _Local) -> None:
        self._channels.add(channel)

    def left(self, channel: _Local) -> None:
        self._channels.discard(channel)

    def _check(self) -> None:
        if self._closed.is_set():
            raise self.lost()

    async def _start(self, argv: list[str], stderr: Tail, *, raw: bool) -> _Command:
        self._check()
        loop = asyncio.get_running_loop()
        try:
            _, command = await loop.subprocess_exec(
                lambda: _Command(self, argv, stderr, raw=raw),
                # As sshd does: the command is a shell's, which also words "not found".
                "/bin/sh",
                "-c",
                shlex.join(argv),
                cwd=self._home,
                env=environment(self._home),
                start_new_session=True,
            )
        except OSError as error:
            raise MachineError(
                self.machine.id, f"cannot start `{shlex.join(argv)}` in {self._home}: {error}"
            ) from None
        return command


class _Local:
    """What commands and sockets of this machine have in common."""

    def __init__(self, connection: LocalConnection) -> None:
        self.connection = connection
        self.gate = Gate()
        self.inbox = Inbox(connection.machine.id)
        self.done = asyncio.Event()  # nothing of it is left
        self._out: asyncio.WriteTransport | None = None
        self._ended: MachineError | None = None  # why nothing can be written any more

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            if self._out is None or self._out.is_closing() or self._ended is not None:
                raise self._ended or self.gone()
            self._out.write(view[start : start + PIECE])
            await self.gate.passed()

    async def write_eof(self) -> None:
        if self._out is not None and not self._out.is_closing() and self._out.can_write_eof():
            self._out.write_eof()

    async def read(self, limit: int = 262144) -> bytes:
        return await self.inbox.read(limit)

    async def readline(self) -> bytes:
        return await self.inbox.readline()

    async def close(self) -> None:
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Ends what runs at the other end, if that is ours to end."""

    def give_up(self, error: MachineError | None) -> None:
        """Nothing can be written or read any more, because of `error`; None is a clean end. What
        was given up once stays so."""
        if self._ended is None:
            self._ended = error or self.gone()
        self.inbox.end(error)

    def gone(self) -> ConnectionLost:
        return ConnectionLost(self.connection.machine.id, "the other side has closed the channel")


class _Socket(_Local, asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._out = self._transport
        self.inbox = Inbox(
            self.connection.machine.id,
            self._transport.pause_reading,
            self._transport.resume_reading,
        )
        self.connection.joined(self)

    def data_received(self, data: bytes) -> None:
        self.inbox.feed(data)

    def eof_received(self) -> bool:
        self.inbox.end()
        return True  # our side stays open

    def pause_writing(self) -> None:
        self.gate.pause_writing()

    def resume_writing(self) -> None:
        self.gate.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up(self.gone())
        self.gate.resume_writing()
        self.done.set()
        self.connection.left(self)

    async def close(self) -> None:
        self._transport.close()


class _Command(_Local, asyncio.SubprocessProtocol):
    def __init__(
        self, connection: LocalConnection, argv: list[str], stderr: Tail, *, raw: bool
    ) -> None:
        super().__init__(connection)
        self._argv = argv
        self._raw = raw  # the end of stdout is the end, however the command ended
        self._open_pipes = {1, 2}
        self.stderr = stderr
        self.status: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._out = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        stdout = cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))
        self.inbox = Inbox(self.connection.machine.id, stdout.pause_reading, stdout.resume_reading)
        self.connection.joined(self)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.inbox.feed(data)
        else:
            self.stderr.feed(data)

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        self._open_pipes.discard(fd)
        if fd == 0:
            self.gate.resume_writing()
        self._settle()

    def process_exited(self) -> None:
        code = self._transport.get_returncode()
        assert code is not None
        self.status = code if code >= 0 else 128 - code
        self._settle()

    def pause_writing(self) -> None:
        self.gate.pause_writing()

    def resume_writing(self) -> None:
        self.gate.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport.close()
        self.done.set()
        self.connection.left(self)

    async def send(self, data: bytes) -> None:
        try:
            await self.write(data)
        except MachineError:
            pass  # a command need not read its stdin
        await self.write_eof()

    async def close(self) -> None:
        self.give_up(self.gone())
        for fd in (0, 1, 2):
            pipe = self._transport.get_pipe_transport(fd)
            if pipe is not None:
                pipe.close()

    def signal(self, number: int) -> None:
        if self.status is None:
            try:
                os.killpg(self._transport.get_pid(), number)
            except ProcessLookupError:
                pass  # it ended by itself; asyncio has not heard of it yet

    def _settle(self) -> None:
        """The stream ends when the command has and its output is read to the end."""
        if self.status is None or self._open_pipes:
            return
        failed = None
        if self.status != 0 and not self._raw:
            failed = CommandFailed(
                self.connection.machine.id, shlex.join(self._argv), self.status, self.stderr.text
            )
        self.give_up(failed)
