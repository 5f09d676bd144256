"""How SSH connections come about: ssh_config, jump hosts, host keys, timeouts. Laptop only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.connection.ssh.connection import SshConnection
from deploy.connection.ssh.failures import Attempt, explain
from deploy.connection.ssh.host_keys import GLOBAL_KNOWN_HOSTS, HostKeyCheck
from deploy.connection.ssh.library import asyncssh
from deploy.errors import ConnectionFailed
from deploy.inventory import Machine

# AES-GCM is what processors do fastest; asyncssh's own list begins with chacha20.
CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
# sshd drops connections at random from the tenth unauthenticated one on (MaxStartups).
LOGINS_AT_ONCE = 8
MOST_JUMPS = 8
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?/?\Z"
)


class SshConnector:
    """Connects to machines through SSH as the user's own `ssh` would, and never asks anything.

    What a machine leaves unset comes from `config` (None: the user's ~/.ssh/config) and from
    ssh-agent. Host keys are looked up in `known_hosts` (None: what ssh_config says, or
    ~/.ssh/known_hosts), unless the machine pins one; `accept_new` records keys of unknown hosts.
    Times are seconds; a silent connection is dead after `keepalive_interval * (keepalive_count +
    1)`; `connect_timeout` holds for every hop.
    """

    def __init__(
        self,
        *,
        accept_new: bool = False,
        config: Sequence[Path] | None = None,
        known_hosts: Sequence[Path] | None = None,
        connect_timeout: float = 10,
        keepalive_interval: float = 1,
        keepalive_count: int = 3,
    ) -> None:
        self._accept_new = accept_new
        self._config: Any = () if config is None else [str(path) for path in config] or None
        self._known_hosts = known_hosts
        self._connect_timeout = connect_timeout
        self._keepalive = {
            "keepalive_interval": keepalive_interval,
            "keepalive_count_max": keepalive_count,
        }
        self._logins: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def connect(self, machine: Machine) -> SshConnection:
        conn, check = await self._hop(machine)
        return SshConnection(machine, conn, check)

    async def close(self) -> None:
        """Nothing to end: connections are their users'."""

    async def _hop(
        self, machine: Machine, depth: int = 0, skip: Sequence[str] = ()
    ) -> tuple[asyncssh.SSHClientConnection, HostKeyCheck]:
        """Connects to `machine`, a jump host if `depth` is not 0, by way of its own jump hosts."""
        attempt = Attempt(
            machine=machine.id,
            host=machine.host,
            port=machine.port or 22,
            user=machine.user or "",
            identity=machine.identity,
            jump=machine.jump,
            is_jump=depth > 0,
        )
        jump: asyncssh.SSHClientConnection | None = None
        try:
            options = self._options(machine)
            attempt.host, attempt.port = options.host, options.port
            attempt.user = options.username
            attempt.jump = machine.jump or (
                options.tunnel if isinstance(options.tunnel, str) else None
            )
            attempt.check = check = HostKeyCheck(
                options.host_key_alias or options.host,
                options.port,
                self._known_hosts_files(options),
                pin=machine.host_key,
                accept_new=self._accept_new,
                skip=skip,
            )
            if attempt.jump is not None:
                jump = await self._jump(machine, attempt, depth)
            async with self._turn(attempt, jump):
                try:
                    async with asyncio.timeout(self._connect_timeout):
                        conn = await self._login(machine, check, jump)
                    jump = None  # it ends with the connection
                except asyncssh.HostKeyNotVerifiable:
                    if check.pin is None or check.offered is None or not check.algorithms:
                        raise
                    again = [*skip, *_algorithms_of(check.offered)]
                else:
                    await _remember(attempt, check, conn)
                    return conn, check
            # The pin may be of another one of the host's keys.
            try:
                return await self._hop(machine, depth, again)
            except ConnectionFailed as error:
                if error.cause != "protocol":
                    raise
                # It has no key of another kind.
                raise explain(
                    attempt, asyncssh.HostKeyNotVerifiable(""), self._connect_timeout
                ) from None
        except (OSError, ValueError, asyncssh.Error, ConnectionFailed) as error:
            raise explain(attempt, error, self._connect_timeout) from None
        finally:
            if jump is not None:
                jump.close()

    async def _login(
        self,
        machine: Machine,
        check: HostKeyCheck,
        jump: asyncssh.SSHClientConnection | None,
    ) -> asyncssh.SSHClientConnection:
        arguments = self._arguments(machine)
        if check.algorithms is not None:
            arguments["server_host_key_algs"] = check.algorithms
        conn = await asyncssh.connect(
            machine.host,
            tunnel=jump,  # None also keeps asyncssh from jumping by itself, where it checks less
            client_factory=lambda: check,
            known_hosts=check.known_hosts,
            encryption_algs=CIPHERS,
            connect_timeout=None,
            login_timeout=0,
            **self._keepalive,
            **arguments,
        )
        conn.set_tunnel(jump)
        return conn

    async def _jump(
        self, machine: Machine, attempt: Attempt, depth: int
    ) -> asyncssh.SSHClientConnection | None:
        """The connection to the last of `attempt.jump`, a list as `ssh -J` takes it."""
        assert attempt.jump is not None
        if depth >= MOST_JUMPS:
            raise attempt.failed("config", f"more than {MOST_JUMPS} jump hosts in a row")
        before, _, last = attempt.jump.rpartition(",")
        found = _JUMP.match(last.strip())
        if found is None:
            raise attempt.failed("config", f"not a jump host: {last!r}", "write [user@]host[:port]")
        host = found["host"].strip("[]")
        if depth > 0 and host == machine.host:
            return None  # `Host *` with ProxyJump names the jump host itself, too; so does ssh
        port = int(found["port"]) if found["port"] else None
        hop = Machine(
            id=machine.id,
            host=host,
            port=port,
            user=found["user"],
            jump=before or None,
        )
        if not self._options(hop).config.get("IdentityFile"):
            hop = replace(hop, identity=machine.identity)
        return (await self._hop(hop, depth + 1))[0]

    def _arguments(self, machine: Machine) -> dict[str, Any]:
        """What the inventory says, for asyncssh; what it leaves unset comes from ssh_config."""
        arguments: dict[str, Any] = {
            "config": self._config,
            "password_auth": False,
            "kbdint_auth": False,
            "host_based_auth": False,
            "agent_forwarding": False,
        }
        if machine.port is not None:
            arguments["port"] = machine.port
        if machine.user is not None:
            arguments["username"] = machine.user
        if machine.identity is not None:
            # An encrypted key is the agent's business.
            identity = Path(machine.identity).expanduser()
            arguments |= {"client_keys": [str(identity)], "ignore_encrypted": True}
        return arguments

    def _options(self, machine: Machine) -> asyncssh.SSHClientConnectionOptions:
        """The settings that ssh_config gives for the machine, to look at."""
        return asyncssh.SSHClientConnectionOptions(
            host=machine.host, known_hosts=(), **self._arguments(machine)
        )

    def _known_hosts_files(self, options: asyncssh.SSHClientConnectionOptions) -> list[Path]:
        if self._known_hosts is not None:
            return [Path(path) for path in self._known_hosts]
        # asyncssh makes None, which to it means "accept every key", of `UserKnownHostsFile none`.
        named: Any = options.known_hosts
        if named is None:
            return []
        files = [Path(str(name)).expanduser() for name in named]
        return [*(files or [Path("~/.ssh/known_hosts").expanduser()]), GLOBAL_KNOWN_HOSTS]

    def _turn(
        self, attempt: Attempt, jump: asyncssh.SSHClientConnection | None
    ) -> asyncio.Semaphore:
        place = (attempt.host if jump is None else f"{attempt.jump} {attempt.host}", attempt.port)
        return self._logins.setdefault(place, asyncio.Semaphore(LOGINS_AT_ONCE))


async def _remember(
    attempt: Attempt, check: HostKeyCheck, conn: asyncssh.SSHClientConnection
) -> None:
    try:
        if check.remember():
            return
        problem = asyncssh.HostKeyNotVerifiable("recorded a moment ago")
        error = explain(attempt, problem, 0)
    except OSError as failure:
        error = attempt.failed(
            "host_key_unknown", f"cannot record the host key of {attempt.where}: {failure}"
        )
    conn.abort()
    await conn.wait_closed()
    raise error


def _algorithms_of(key: asyncssh.SSHKey) -> list[str]:
    return [name.decode() for name in key.sig_algorithms]
