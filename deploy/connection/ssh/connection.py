"""An authenticated SSH connection: run, open a command, open a socket, close. Laptop only."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from deploy.connection.base import Channel, Completed
from deploy.connection.ssh.channel import Feed, SshChannel
from deploy.connection.ssh.library import asyncssh
from deploy.connection.ssh.sessions import Sessions
from deploy.connection.stream import Tail
from deploy.errors import ConnectionLost, MachineError
from deploy.inventory import Machine

OPEN_TIMEOUT = 10.0  # seconds for the far end to open a channel
CLOSE_TIMEOUT = 2.0  # seconds for a goodbye; a cut link gets none
PACKET = 128 * 1024  # what sshd may send at once: 1.7 times the speed of the default
# After login sshd sends small packets, and waits for the first one's acknowledgement before it
# sends the next; the kernel delays that by 40 ms unless told, now and then, not to.
EAGER_SECONDS = 0.06
EAGER_INTERVAL = 0.002


class SshConnection:
    """Implements deploy.connection.base.Connection on a connection of asyncssh."""

    def __init__(self, machine: Machine, conn: asyncssh.SSHClientConnection, watch: Watch) -> None:
        self.machine = machine
        self._conn = conn
        self._watch = watch
        self._sessions = Sessions()
        self._closing = False
        _acknowledge_eagerly(conn)

    def __repr__(self) -> str:
        state = self._why_dead()
        return f"<SshConnection to {self.machine.id}: {state.reason if state else 'open'}>"

    async def run(self, argv: list[str], stdin: bytes = b"", *, timeout: float = 60) -> Completed:
        command = shlex.join(argv)
        stderr = Tail(10**9)
        try:
            async with asyncio.timeout(timeout):
                channel = await self._open_command(command, stderr, raw=True)
                try:
                    _, out = await asyncio.gather(channel.send_all(stdin), channel.inbox.read_all())
                finally:
                    await channel.close()
        except TimeoutError:
            raise self._why_dead() or MachineError(
                self.machine.id,
                f"`{command}` has not ended after {timeout:g} s; it may still be running",
            ) from None
        assert channel.status is not None  # read_all raises when the channel ends without one
        return Completed(channel.status, out, stderr.text)

    async def open_command(self, argv: list[str]) -> Channel:
        return await self._open_command(shlex.join(argv), Tail(), raw=False)

    async def open_socket(self, path: str) -> Channel:
        opened = await self._try_socket(path)
        if opened is None and self._sessions.unsure:
            # sshd words a missing socket and one session too many alike. This command needs a
            # session, too, and its refusal cannot mean anything else.
            await self.run(["true"], timeout=OPEN_TIMEOUT)
            opened = await self._try_socket(path)
        if opened is None:
            raise MachineError(
                self.machine.id,
                f"nobody listens at {path}, or user {self._user} may not connect to it",
                hint="sshd does not tell more; it also says this when its sshd_config has "
                "`AllowStreamLocalForwarding no`",
            )
        return opened

    async def closed(self) -> None:
        await self._watch.lost.wait()

    async def close(self) -> None:
        self._closing = True
        self._conn.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._conn.wait_closed()
        except TimeoutError:
            self._conn.abort()
            await self._watch.lost.wait()

    @property
    def _user(self) -> str:
        return str(self._conn.get_extra_info("username"))

    async def _open_command(self, command: str, stderr: Tail, *, raw: bool) -> SshChannel:
        while True:
            channel = SshChannel(
                self.machine.id, command=command, raw=raw, why_dead=self._why_dead, stderr=stderr
            )
            feed = Feed(channel, self._sessions.leave)
            try:
                await self._open(
                    lambda feed=feed: self._conn.create_session(  # type: ignore[misc]
                        lambda: feed,
                        command,
                        encoding=None,
                        # Nothing of ssh_config's interactive settings.
                        request_pty=False,
                        send_env=[],
                        x11_forwarding=False,
                        max_pktsize=PACKET,
                    ),
                    feed,
                )
            except asyncssh.ChannelOpenError as error:
                if self._sessions.refused():
                    continue
                raise MachineError(
                    self.machine.id,
                    f"sshd opens no session: {error.reason}",
                    hint="MaxSessions in the machine's sshd_config has to be at least 1, and its "
                    "log says more",
                ) from None
            return channel

    async def _try_socket(self, path: str) -> SshChannel | None:
        channel = SshChannel(self.machine.id, why_dead=self._why_dead)
        feed = Feed(channel, self._sessions.leave)
        try:
            await self._open(
                lambda: self._conn.create_unix_connection(
                    lambda: feed, path, encoding=None, max_pktsize=PACKET
                ),
                feed,
            )
        except asyncssh.ChannelOpenError:
            return None
        return channel

    async def _open(self, create: Callable[[], Awaitable[object]], feed: Feed) -> None:
        """Opens one channel, counted until it ends. Raises ChannelOpenError, ConnectionLost or,
        if the far end does not answer, MachineError."""
        self._check()
        await self._sessions.enter()
        try:
            self._check()  # it may have died while we waited for our turn
            async with asyncio.timeout(OPEN_TIMEOUT):
                await create()
        except BaseException as error:
            feed.forget()
            dead = self._why_dead()
            if isinstance(error, asyncssh.ChannelOpenError) and dead is None:
                raise
            if isinstance(error, (OSError, asyncssh.Error)) and dead is not None:
                raise dead from None
            if isinstance(error, TimeoutError):
                raise MachineError(
                    self.machine.id, f"sshd has not opened a channel within {OPEN_TIMEOUT:g} s"
                ) from None
            if isinstance(error, (OSError, asyncssh.Error)):
                raise ConnectionLost(self.machine.id, f"the connection broke: {error}") from None
            raise

    def _check(self) -> None:
        dead = self._why_dead()
        if dead is not None:
            raise dead

    def _why_dead(self) -> ConnectionLost | None:
        if self._closing:
            return ConnectionLost(self.machine.id, "the connection was closed")
        if self._watch.lost.is_set() or self._conn.is_closed():
            return ConnectionLost(self.machine.id, f"the connection died: {self._watch.reason}")
        return None


class Watch(asyncssh.SSHClient):
    """Sees a connection come and go. Subclasses decide on host keys."""

    def __init__(self) -> None:
        self.connected = False
        self.lost = asyncio.Event()
        self.reason = "closed by the machine"

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connected = True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.reason = str(error) or type(error).__name__
        self.lost.set()


def _acknowledge_eagerly(conn: asyncssh.SSHClientConnection) -> None:
    sock: Any = conn.get_extra_info("socket")
    if sock is None:
        return  # through a jump host or a ProxyCommand
    loop = asyncio.get_running_loop()
    end = loop.time() + EAGER_SECONDS

    def acknowledge() -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            return  # closed meanwhile
        if loop.time() < end:
            loop.call_later(EAGER_INTERVAL, acknowledge)

    acknowledge()
