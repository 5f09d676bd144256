"""An authenticated SSH connection: run, open a command, open a socket, close. Laptop only."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from deploy.connection.base import Channel, Completed
from deploy.connection.ssh.channel import Feed, SshChannel
from deploy.connection.ssh.library import asyncssh
from deploy.connection.ssh.sessions import Sessions
from deploy.connection.stream import STDERR_MOST, Tail
from deploy.errors import ConnectionLost, MachineError
from deploy.inventory import Machine

OPEN_TIMEOUT = 10.0  # seconds for the far end to open a channel
TURN_TIMEOUT = 30.0  # seconds for other channels to end, when there are too many
SOCKET_RETRIES = (0.05, 0.2)  # seconds between attempts at a socket that exists
LONGEST_DELAY = 0.5  # seconds between attempts at a session
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
        stderr = Tail(STDERR_MOST)
        channel = None
        try:
            async with asyncio.timeout(timeout):
                channel = await self._open_command(command, stderr, raw=True)
                try:
                    _, out = await asyncio.gather(channel.send_all(stdin), channel.inbox.read_all())
                finally:
                    await channel.close()
        except TimeoutError:
            if channel is None:
                raise self._why_dead() or self._crowded(timeout) from None
            raise self._why_dead() or MachineError(
                self.machine.id,
                f"`{command}` has not ended after {timeout:g} s; it may still be running",
            ) from None
        assert channel.status is not None  # read_all raises when the channel ends without one
        return Completed(channel.status, out, stderr.text)

    async def open_command(self, argv: list[str]) -> Channel:
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                return await self._open_command(shlex.join(argv), Tail(), raw=False)
        except TimeoutError:
            raise self._crowded() from None

    async def open_socket(self, path: str) -> Channel:
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                for delay in (0.0, *SOCKET_RETRIES):
                    await asyncio.sleep(delay)
                    opened = await self._try_socket(path)
                    if opened is not None:
                        return opened
                    # sshd words a missing socket and one session too many alike.
                    if delay == 0 and (await self.run(["test", "-S", path])).status != 0:
                        raise MachineError(
                            self.machine.id, f"nobody listens at {path}: there is no such socket"
                        )
        except TimeoutError:
            raise self._crowded() from None
        raise MachineError(
            self.machine.id,
            f"nobody listens at {path}, or user {self._user} may not connect to it",
            hint="sshd does not tell more; it also says this when its sshd_config has "
            "`AllowStreamLocalForwarding no`",
        )

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
        """Raises TimeoutError only if its caller's time is over."""
        for delay in _session_retries():
            channel = SshChannel(
                self.machine.id, command=command, raw=raw, why_dead=self._why_dead, stderr=stderr
            )

            async def create(feed: Feed) -> None:
                await self._conn.create_session(
                    lambda: feed,
                    command,
                    encoding=None,
                    # Nothing of ssh_config's settings for people at terminals.
                    request_pty=False,
                    send_env=[],
                    x11_forwarding=False,
                    max_pktsize=PACKET,
                )

            refusal = await self._open(channel, create)
            if refusal is None:
                return channel
            self._sessions.refused()
            if self._sessions.most == 0 and delay >= LONGEST_DELAY:
                break
            await asyncio.sleep(delay)
        raise MachineError(
            self.machine.id,
            f"sshd opens no session: {refusal}",
            hint="MaxSessions in the machine's sshd_config has to be at least 1; its log says more",
        )

    async def _try_socket(self, path: str) -> SshChannel | None:
        channel = SshChannel(self.machine.id, why_dead=self._why_dead)

        async def create(feed: Feed) -> None:
            await self._conn.create_unix_connection(
                lambda: feed, path, encoding=None, max_pktsize=PACKET
            )

        return channel if await self._open(channel, create) is None else None

    async def _open(
        self, channel: SshChannel, create: Callable[[Feed], Awaitable[None]]
    ) -> str | None:
        """Opens one channel in its turn, counted until it ends. Returns sshd's refusal, if it
        refuses. Raises ConnectionLost, or MachineError if sshd does not answer."""
        self._check()
        await self._sessions.enter()
        feed = Feed(channel, self._sessions)
        answered = False
        try:
            self._check()  # it may have died while we waited for our turn
            async with asyncio.timeout(OPEN_TIMEOUT):
                await create(feed)
            answered = True
            return None
        except asyncssh.ChannelOpenError as error:
            self._check()
            return error.reason
        except (OSError, asyncssh.Error) as error:  # TimeoutError is an OSError
            self._check()
            if isinstance(error, TimeoutError):
                raise MachineError(
                    self.machine.id, f"sshd has not opened a channel within {OPEN_TIMEOUT:g} s"
                ) from None
            raise ConnectionLost(self.machine.id, f"the connection broke: {error}") from None
        finally:
            if not answered:
                feed.forget()

    def _crowded(self, seconds: float = TURN_TIMEOUT) -> MachineError:
        return MachineError(
            self.machine.id,
            f"no session has become free within {seconds:g} s; {self._sessions.open} are open",
            hint="raise MaxSessions in the machine's sshd_config",
        )

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


def _session_retries() -> Iterator[float]:
    delay = 0.01
    while True:
        yield delay
        delay = min(2 * delay, LONGEST_DELAY)


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
