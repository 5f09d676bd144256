"""Machines that exist in memory only: the public fake of connections, for tests and rehearsals.

A `MemoryMachine` is scripted with programs and sockets, and can be cut off; `MemoryConnector`
leads to it as SSH would.
"""

from __future__ import annotations

import asyncio
import shlex
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.connection.base import Channel, Completed
from deploy.connection.stream import PIECE, STDERR_MOST, STDERR_TAIL, Inbox, Tail
from deploy.errors import CommandFailed, ConnectionFailed, ConnectionLost, MachineError
from deploy.inventory import Machine


@dataclass
class Stdio:
    """What a program has: `stdin.read()`, `stdin.readline()`, `write(bytes)`, `complain(text)`."""

    stdin: Channel
    write: Callable[[bytes], Awaitable[None]]
    complain: Callable[[str], None]


Program = Callable[[list[str], Stdio], Coroutine[Any, Any, int]]
"""Gets argv and its streams; returns the exit status."""

Server = Callable[[Channel], Coroutine[Any, Any, None]]
"""Serves one connection to a Unix socket, and closes it."""


@dataclass
class MemoryMachine:
    """A machine in memory: programs by the first word of argv, servers by socket path."""

    programs: dict[str, Program] = field(default_factory=dict)
    sockets: dict[str, Server] = field(default_factory=dict)
    failure: ConnectionFailed | None = None  # what connecting raises, if anything
    connections: list[MemoryConnection] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)  # every argv that was started

    def cut(self, reason: str = "the link was cut") -> None:
        """Every open connection dies. New ones come about unless `failure` is set."""
        for connection in list(self.connections):
            connection.die(reason)


class MemoryConnector:
    """Leads to `machines`, by id; an id that is not there has no address."""

    def __init__(self, machines: Mapping[str, MemoryMachine]) -> None:
        self._machines = machines

    async def connect(self, machine: Machine) -> MemoryConnection:
        target = self._machines.get(machine.id)
        if target is None:
            raise ConnectionFailed(machine.id, "dns", f"no machine is named {machine.host!r}")
        if target.failure is not None:
            raise target.failure
        connection = MemoryConnection(machine, target)
        target.connections.append(connection)
        return connection

    async def close(self) -> None:
        for target in self._machines.values():
            for connection in list(target.connections):
                await connection.close()


class MemoryConnection:
    def __init__(self, machine: Machine, target: MemoryMachine) -> None:
        self.machine = machine
        self._target = target
        self._lost: ConnectionLost | None = None
        self._closed = asyncio.Event()
        self._ends: set[_End] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<MemoryConnection to {self.machine.id}: {self._lost or 'open'}>"

    async def run(self, argv: list[str], stdin: bytes = b"", *, timeout: float = 60) -> Completed:
        channel, tail = self._start(argv, raw=True)
        try:
            async with asyncio.timeout(timeout):
                _, out = await asyncio.gather(_send(channel, stdin), channel.inbox.read_all())
        except TimeoutError:
            raise MachineError(
                self.machine.id,
                f"`{shlex.join(argv)}` has not ended after {timeout:g} s; it may still be running",
            ) from None
        finally:
            await channel.close()
        return Completed(channel.status, out, tail.text)

    async def open_command(self, argv: list[str]) -> Channel:
        return self._start(argv, raw=False)[0]

    async def open_socket(self, path: str) -> Channel:
        self._check()
        server = self._target.sockets.get(path)
        if server is None:
            raise MachineError(self.machine.id, f"nobody listens at {path}")
        ours, theirs = self._pair()

        async def serve() -> None:
            try:
                await server(theirs)
            except ConnectionLost:
                pass  # the client went first, as clients may
            finally:
                await theirs.close()

        self._spawn(serve())
        return ours

    async def closed(self) -> None:
        await self._closed.wait()

    async def close(self) -> None:
        self.die("the connection was closed")

    def die(self, reason: str) -> None:
        """Ends the connection as a cut link does."""
        if self._lost is not None:
            return
        self._lost = ConnectionLost(self.machine.id, reason)
        for end in list(self._ends):
            end.die(self._lost)
        for task in self._tasks:
            task.cancel()
        self._target.connections.remove(self)
        self._closed.set()

    def _check(self) -> None:
        if self._lost is not None:
            raise ConnectionLost(self.machine.id, self._lost.reason)

    def _start(self, argv: list[str], *, raw: bool) -> tuple[_End, Tail]:
        """`raw`: the end of stdout is the end, however the program ended."""
        self._check()
        self._target.commands.append(list(argv))
        ours, theirs = self._pair()
        tail = Tail(STDERR_MOST if raw else STDERR_TAIL)

        async def execute() -> None:
            program = self._target.programs.get(argv[0])
            stdio = Stdio(theirs, theirs.write, lambda text: tail.feed(text.encode()))
            try:
                if program is None:
                    stdio.complain(f"{argv[0]}: not found\n")
                    ours.status = 127
                else:
                    ours.status = await program(argv, stdio)
            except ConnectionLost:
                ours.status = 128 + 13  # as by SIGPIPE: the reader went away
            except Exception:
                stdio.complain(traceback.format_exc())
                ours.status = 70  # EX_SOFTWARE: the script of the fake is wrong
            failed = None
            if ours.status != 0 and not raw:
                failed = CommandFailed(self.machine.id, shlex.join(argv), ours.status, tail.text)
            ours.inbox.end(failed)
            theirs.inbox.end(self.gone())

        self._spawn(execute())
        return ours, tail

    def _pair(self) -> tuple[_End, _End]:
        ours, theirs = _End(self), _End(self)
        ours.peer, theirs.peer = theirs, ours
        self._ends |= {ours, theirs}
        return ours, theirs

    def gone(self) -> ConnectionLost:
        return ConnectionLost(self.machine.id, "the other side has closed the channel")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, end: _End) -> None:
        self._ends.discard(end)


class _End:
    """One end of a two-way stream in memory."""

    peer: _End

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self._sent_eof = False
        self._lost: ConnectionLost | None = None
        self.inbox = Inbox(connection.machine.id)
        self.status = 0

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            await self.peer.inbox.room()
            if self._lost is not None:
                raise ConnectionLost(self._lost.machine, self._lost.reason)
            if self._sent_eof or self.peer.inbox.ended:
                raise self._connection.gone()
            self.peer.inbox.feed(data[start : start + PIECE])
        await asyncio.sleep(0)

    async def write_eof(self) -> None:
        self._sent_eof = True
        self.peer.inbox.end()

    async def read(self, limit: int = 262144) -> bytes:
        return await self.inbox.read(limit)

    async def readline(self) -> bytes:
        return await self.inbox.readline()

    async def close(self) -> None:
        self.peer.inbox.end()
        self.die(self._connection.gone())

    def die(self, error: ConnectionLost) -> None:
        if self._lost is None:
            self._lost = error
            self.inbox.end(error)
            self._connection.forget(self)


async def _send(channel: _End, data: bytes) -> None:
    try:
        await channel.write(data)
        await channel.write_eof()
    except ConnectionLost:
        pass  # a program need not read its stdin; a dead connection shows in its output
