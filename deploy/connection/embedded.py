"""SSH servers that dora starts itself on loopback: machines to try everything on. Laptop only.

Each has a folder of its own for a home; otherwise its commands are this user's processes on this
machine. Keys are made for one run and never leave memory.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
from pathlib import Path
from typing import Any, cast

from deploy.connection.local import environment
from deploy.connection.ssh.connection import SshConnection, Watch
from deploy.connection.ssh.library import asyncssh
from deploy.connection.stream import PIECE
from deploy.errors import ConnectionFailed
from deploy.inventory import Machine

PATIENCE = 2.0  # seconds that a command has to end after SIGHUP, before SIGKILL


def data_home() -> Path:
    """Where this user's programs keep their data."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()


class EmbeddedConnector:
    """Connects to embedded servers, one for each machine id, and starts them at first use."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` has the machines' homes; default: `<data home>/dora/embedded`."""
        self._folder = folder or data_home() / "dora" / "embedded"
        self._servers: dict[str, EmbeddedServer] = {}
        self._starting = asyncio.Lock()

    async def connect(self, machine: Machine) -> SshConnection:
        try:
            async with self._starting:
                server = self._servers.get(machine.id)
                if server is None:
                    server = await EmbeddedServer.start(self._folder / machine.id)
                    self._servers[machine.id] = server
            return await server.connect(machine)
        except (OSError, asyncssh.Error) as error:
            raise ConnectionFailed(
                machine.id,
                "protocol",
                f"cannot start or reach the embedded server in {self._folder}: {error}",
                hint="it needs that folder to be writable, and a free port on 127.0.0.1",
            ) from None

    async def close(self) -> None:
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.close() for server in servers))


class EmbeddedServer:
    """One SSH server on 127.0.0.1. Use `start`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = 0
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._client_key = asyncssh.generate_private_key("ssh-ed25519")
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._commands: set[_Command] = set()
        self._connections: set[asyncssh.SSHServerConnection] = set()

    def __repr__(self) -> str:
        return f"<EmbeddedServer in {self.home} on port {self.port}>"

    @classmethod
    async def start(cls, home: Path) -> EmbeddedServer:
        """Makes the folder `home`, for this user alone, if it is missing. Raises OSError."""
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        server = cls(home)
        server._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Server(server._client_key, server._connections, server._run),
            server_host_keys=[server._host_key],
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            encoding=None,
            config=None,
        )
        server.port = server._acceptor.get_port()
        return server

    async def connect(self, machine: Machine) -> SshConnection:
        """Raises OSError or asyncssh's errors, which `EmbeddedConnector` words."""
        watch = Watch()
        conn = await asyncssh.connect(
            "127.0.0.1",
            self.port,
            username=getpass.getuser(),
            client_keys=[self._client_key],
            known_hosts=([self._host_key.convert_to_public()], [], []),
            client_factory=lambda: watch,
            agent_path=None,
            gss_host=None,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            config=None,
        )
        return SshConnection(machine, conn, watch)

    async def close(self) -> None:
        """Ends the server, its connections, and with SIGHUP the commands that still run, unless
        they made a session of their own, as daemons do."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        await self._acceptor.wait_closed()
        self._acceptor = None
        commands = list(self._commands)
        for command in commands:
            command.signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(command.done.wait() for command in commands))
        except TimeoutError:
            for command in commands:
                command.signal(signal.SIGKILL)
            await asyncio.gather(*(command.done.wait() for command in commands))

    def _run(self) -> _Session:
        return _Session(self.home, self._commands)


class _Server(asyncssh.SSHServer):
    """Lets our own key in, runs commands and forwards Unix sockets, and nothing else."""

    def __init__(
        self,
        client_key: asyncssh.SSHKey,
        connections: set[asyncssh.SSHServerConnection],
        session: Any,
    ) -> None:
        self._client_key = client_key.convert_to_public()
        self._connections = connections
        self._session = session

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self._connections.add(conn)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self._conn)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key == self._client_key and username == getpass.getuser()

    def session_requested(self) -> Any:
        return self._session()

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True  # like the rest, with this user's own permissions


class _Session(asyncssh.SSHServerSession):  # type: ignore[type-arg]
    """The server's side of one channel: at most one command."""

    def __init__(self, home: Path, commands: set[_Command]) -> None:
        self._home = home
        self._commands = commands
        self._command: _Command | None = None
        self._line: str | None = None
        self._eof = False
        self._waiting = bytearray()  # stdin that came before the command ran

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def exec_requested(self, command: str) -> bool:
        self._line = command
        return True

    def session_started(self) -> None:
        self._chan.set_write_buffer_limits(high=2 * PIECE)
        self._task = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        assert self._line is not None
        command = _Command(self._chan, self._commands)
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: command,
                "/bin/sh",
                "-c",
                self._line,
                cwd=self._home,
                env=environment(self._home),
                start_new_session=True,
            )
        except OSError as error:
            self._chan.write(
                f"cannot run commands in {self._home}: {error}\n".encode(),
                asyncssh.EXTENDED_DATA_STDERR,
            )
            self._chan.exit(126)
            return
        self._command = command
        command.stdin(bytes(self._waiting))
        if self._eof:
            command.stdin_ends()

    def data_received(self, data: Any, datatype: int | None) -> None:
        if self._command is not None:
            self._command.stdin(data)
        else:
            self._waiting += data

    def eof_received(self) -> bool:
        self._eof = True
        if self._command is not None:
            self._command.stdin_ends()
        return True

    def signal_received(self, signal: str) -> None:
        if self._command is not None:
            self._command.signal_by_name(signal)

    def pause_writing(self) -> None:
        if self._command is not None:
            self._command.pause_output()

    def resume_writing(self) -> None:
        if self._command is not None:
            self._command.resume_output()

    def connection_lost(self, error: Exception | None) -> None:
        # As with sshd the command is not killed; it sees its pipes close.
        if self._command is not None:
            self._command.hang_up()


class _Command(asyncio.SubprocessProtocol):
    """A running command, between its pipes and its SSH channel."""

    def __init__(self, chan: Any, commands: set[_Command]) -> None:
        self._chan = chan
        self._commands = commands
        self._open_pipes = {1, 2}
        self._code: int | None = None
        self._hung_up = False
        self._paused = False
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._commands.add(self)

    # From the channel

    def stdin(self, data: bytes) -> None:
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)

    def stdin_ends(self) -> None:
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            pipe.write_eof()

    def pause_output(self) -> None:
        self._paused = True
        for fd in self._open_pipes:
            self._pipe(fd).pause_reading()

    def resume_output(self) -> None:
        if self._paused:
            self._paused = False
            for fd in self._open_pipes:
                self._pipe(fd).resume_reading()

    def hang_up(self) -> None:
        self._hung_up = True
        for fd in (0, 1, 2):
            pipe = self._pipe(fd)
            if pipe is not None:
                pipe.close()

    def signal(self, number: int) -> None:
        if self._code is None:
            try:
                os.killpg(self._transport.get_pid(), number)
            except ProcessLookupError:
                pass  # it ended by itself; asyncio has not heard of it yet

    def signal_by_name(self, name: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        if number is not None:
            self.signal(number)

    # From the process

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self._hung_up:
            try:
                self._chan.write(data, None if fd == 1 else asyncssh.EXTENDED_DATA_STDERR)
            except BrokenPipeError:
                self._hung_up = True  # whoever asked has gone, and we are about to hear of it

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        self._open_pipes.discard(fd)
        self._settle()

    def process_exited(self) -> None:
        self._code = self._transport.get_returncode()
        self._settle()

    def pause_writing(self) -> None:
        self._chan.pause_reading()  # the command does not read its stdin; nor do we, then

    def resume_writing(self) -> None:
        # Not at once: more stdin may be waiting there, and the pipe, which calls us in the midst of
        # its own work, is not ready for its end.
        asyncio.get_running_loop().call_soon(self._resume_input)

    def _resume_input(self) -> None:
        if not self._hung_up:
            self._chan.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport.close()
        self._commands.discard(self)
        self.done.set()

    def _pipe(self, fd: int) -> Any:
        return self._transport.get_pipe_transport(fd)

    def _settle(self) -> None:
        if self._code is None or self._open_pipes or self._hung_up:
            return
        if self._code >= 0:
            self._chan.exit(self._code)
        else:
            self._chan.exit_with_signal(signal.Signals(-self._code).name.removeprefix("SIG"))
