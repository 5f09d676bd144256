"""What asyncssh and the system say when a connection fails, in the words that help. Laptop only."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
from dataclasses import dataclass

from deploy.connection.ssh.host_keys import HostKeyCheck, known_hosts_name
from deploy.connection.ssh.library import asyncssh
from deploy.errors import ConnectionFailed


@dataclass
class Attempt:
    """One hop of a connection that is being made: to the machine, or to a jump host before it."""

    machine: str
    host: str
    port: int
    user: str
    identity: str | None = None  # as the inventory has it
    jump: str | None = None
    is_jump: bool = False
    check: HostKeyCheck | None = None

    @property
    def where(self) -> str:
        place = self.host if self.port == 22 else f"{self.host}:{self.port}"
        return f"jump host {place}" if self.is_jump else place

    @property
    def ssh_command(self) -> str:
        """What shows the same failure in ssh's words."""
        argv = ["ssh", "-v"]
        if self.port != 22:
            argv += ["-p", str(self.port)]
        if self.identity:
            argv += ["-i", self.identity]
        if self.jump:
            argv += ["-J", self.jump]
        return shlex.join([*argv, f"{self.user}@{self.host}", "true"])

    def failed(self, cause: str, message: str, hint: str | None = None) -> ConnectionFailed:
        if hint is None:
            hint = f"see what ssh says: {self.ssh_command}"
        return ConnectionFailed(self.machine, cause, message, hint=hint)


def explain(attempt: Attempt, error: Exception, timeout: float) -> ConnectionFailed:
    """The ConnectionFailed for whatever was raised while connecting."""
    where = attempt.where
    if isinstance(error, ConnectionFailed):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(attempt, error)
    if isinstance(error, asyncssh.PermissionDenied):
        return _refused_login(attempt, error)
    if isinstance(error, asyncssh.ChannelOpenError):  # of a tunnel's far end
        return _tunnel(attempt, error)
    if isinstance(error, OSError) and error.filename:
        return attempt.failed(
            "auth",
            f"cannot read {error.filename}: {error.strerror}",
            "correct `identity:` in the inventory, or IdentityFile in ssh_config",
        )
    if isinstance(error, (asyncssh.KeyImportError, asyncssh.KeyEncryptionError)):
        return attempt.failed("auth", f"cannot use the key {attempt.identity}: {error}")
    if isinstance(error, asyncssh.ConfigParseError):
        return attempt.failed("config", f"ssh_config: {error}", "correct the line")
    if isinstance(error, TimeoutError):  # ours or the kernel's
        if attempt.check is not None and attempt.check.connected:
            text = f"{where} accepted the connection, but its sshd has not let us in"
        else:
            text = f"no answer from {where}"
        return attempt.failed("timeout", f"{text} within {timeout:g} s")
    if isinstance(error, socket.gaierror):
        return attempt.failed(
            "dns",
            f"cannot resolve the name {attempt.host!r}: {error.strerror}",
            f"correct `host:` in the inventory, or see what the resolver says: "
            f"getent hosts {shlex.quote(attempt.host)}",
        )
    if isinstance(error, (asyncssh.DisconnectError, ConnectionError)) and not _refused(error):
        reason = getattr(error, "reason", None) or str(error)
        return attempt.failed("protocol", f"{where} ended the connection before login: {reason}")
    if isinstance(error, OSError):
        return _system(attempt, error, timeout)
    return attempt.failed("protocol", f"cannot connect to {where}: {error}")


def _refused(error: Exception) -> bool:
    return isinstance(error, OSError) and errno.ECONNREFUSED in _numbers(error)


def _numbers(error: OSError) -> set[int]:
    """asyncio words the failures of several addresses in one OSError without a number."""
    if error.errno is not None:
        return {error.errno}
    return {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}


def _system(attempt: Attempt, error: OSError, timeout: float) -> ConnectionFailed:
    numbers = _numbers(error)
    if errno.ECONNREFUSED in numbers:
        text = f"{attempt.where} is up, but nothing listens on port {attempt.port}"
        return attempt.failed(
            "refused", text, f"is sshd running there? see what ssh says: {attempt.ssh_command}"
        )
    if numbers & {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}:
        return attempt.failed(
            "no_route",
            f"no way to {attempt.where}: {os.strerror(min(numbers))}",
            f"is it on, and on this network? see what ssh says: {attempt.ssh_command}",
        )
    if errno.ETIMEDOUT in numbers:
        return attempt.failed("timeout", f"no answer from {attempt.where}")
    return attempt.failed("protocol", f"cannot connect to {attempt.where}: {error}")


def _tunnel(attempt: Attempt, error: asyncssh.ChannelOpenError) -> ConnectionFailed:
    via = f"{attempt.where}, from the jump host {attempt.jump}"
    text = error.reason.lower()
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return attempt.failed(
            "protocol",
            f"the jump host {attempt.jump} forwards no connections: {error.reason}",
            "set `AllowTcpForwarding yes` in its sshd_config",
        )
    if "refused" in text:
        return attempt.failed("refused", f"{via}: nothing listens on port {attempt.port}")
    if "resolv" in text or "name" in text:
        return attempt.failed("dns", f"{via}: cannot resolve the name")
    if "timed out" in text or "timeout" in text:
        return attempt.failed("timeout", f"{via}: no answer")
    return attempt.failed("no_route", f"no way to {via}: {error.reason}")


def _refused_login(attempt: Attempt, error: asyncssh.PermissionDenied) -> ConnectionFailed:
    agent = "ssh-agent" if os.environ.get("SSH_AUTH_SOCK") else "no ssh-agent is running"
    keys = attempt.identity or "those of ~/.ssh and ssh_config"
    copy = ["ssh-copy-id"]
    if attempt.identity:
        copy += ["-i", attempt.identity]
    if attempt.port != 22:
        copy += ["-p", str(attempt.port)]
    copy.append(f"{attempt.user}@{attempt.host}")
    return attempt.failed(
        "auth",
        f"{attempt.where} does not let user {attempt.user!r} in with our keys "
        f"({keys}; {agent}): {error.reason}",
        f"to install your key: {shlex.join(copy)}; to see what ssh says: {attempt.ssh_command}",
    )


def _host_key(attempt: Attempt, error: asyncssh.HostKeyNotVerifiable) -> ConnectionFailed:
    check = attempt.check
    assert check is not None
    name = known_hosts_name(check.host, check.port)
    offered = check.offered.get_fingerprint() if check.offered is not None else None
    if check.pin is not None and offered is not None:
        return attempt.failed(
            "host_key_changed",
            f"{attempt.where} has the host key {offered}, but the inventory pins {check.pin}",
            "re-flashed robot? If you know that it was, change `host_key:` in the inventory; "
            "if not, somebody may be in between",
        )
    files = " ".join(str(file) for file in check.files) or "no known_hosts file"
    if check.record.empty and offered is not None:
        scan = ["ssh-keyscan", *(["-p", str(attempt.port)] if attempt.port != 22 else [])]
        return attempt.failed(
            "host_key_unknown",
            f"the host key of {attempt.where} is not known: {offered} is not in {files}",
            "compare it with what the machine says (ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), then run again with --accept-new, or pin it "
            f"with `host_key: {offered}` in the inventory, or: "
            f"{shlex.join([*scan, attempt.host])} >> {check.files[0] if check.files else ''}",
        )
    known = ", ".join(key.get_fingerprint() for key in check.record.keys) or "a certificate"
    remove = [shlex.join(["ssh-keygen", "-R", name, "-f", str(file)]) for file in check.files[:1]]
    return attempt.failed(
        "host_key_changed",
        f"the host key of {attempt.where} is not the one on record: it has "
        f"{offered or 'a certificate that we cannot verify'}, known is {known} "
        f"(in {files}): {error.reason}",
        "re-flashed robot? If you know that it was: "
        + "; ".join(remove)
        + "; if not, somebody may be in between",
    )
