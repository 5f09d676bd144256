"""Whether the machine at the other end is the one we mean: pins, known_hosts, first use. Laptop.

Every host key is checked. A key that is not the one on record is refused, whatever the settings.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.connection.ssh.connection import Watch
from deploy.connection.ssh.library import asyncssh

GLOBAL_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
# For hosts that are not on record: no certificates, since no authority of theirs is, either.
PLAIN_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

Keys = list[asyncssh.SSHKey]


@dataclass
class Record:
    """What the known_hosts files say about one host."""

    keys: Keys = field(default_factory=list)
    authorities: Keys = field(default_factory=list)
    revoked: Keys = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.keys or self.authorities or self.revoked)


def known_hosts_name(host: str, port: int) -> str:
    """How known_hosts files name a host."""
    return host if port == 22 else f"[{host}]:{port}"


def read_record(files: Sequence[Path], host: str, port: int) -> Record:
    """What `files` say about `host`; a file that is missing says nothing. Raises OSError."""
    record = Record()
    for file in files:
        try:
            known = asyncssh.import_known_hosts(file.read_text(errors="replace"))
        except FileNotFoundError:
            continue
        # By name alone: an address may have been another machine's.
        keys, authorities, revoked, *_ = known.match(host, "", None if port == 22 else port)
        record.keys += keys
        record.authorities += authorities
        record.revoked += revoked
    return record


class HostKeyCheck(Watch):
    """Watches one connection, and decides on the host key that is offered there."""

    def __init__(
        self,
        host: str,
        port: int,
        files: Sequence[Path],
        *,
        pin: str | None = None,
        accept_new: bool = False,
        skip: Sequence[str] = (),
    ) -> None:
        """`host` is the name on record (HostKeyAlias, if there is one). `pin`: the only accepted
        key's fingerprint. `skip`: algorithms that are not to be offered. Raises OSError."""
        super().__init__()
        self.host = host
        self.port = port
        self.files = tuple(files)
        self.pin = pin
        self.record = Record() if pin else read_record(files, host, port)
        self.offered: asyncssh.SSHKey | None = None
        self._accept_new = accept_new
        self._new = False
        self._skip = skip

    @property
    def algorithms(self) -> Sequence[str] | None:
        """What to offer; None leaves it to what is on record."""
        if not self.record.empty:
            return None
        return [name for name in PLAIN_ALGORITHMS if name not in self._skip]

    @property
    def changed(self) -> bool:
        """Whether a key was offered, and another one expected."""
        return self.offered is not None and bool(self.pin or not self.record.empty)

    def known_hosts(self, host: str, address: str, port: int | None) -> tuple[Keys, Keys, Keys]:
        """What asyncssh takes for its known_hosts."""
        return self.record.keys, self.record.authorities, self.record.revoked

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        # Called for every key that `known_hosts` does not list, also for a changed one.
        self.offered = key
        if self.pin is not None:
            return key.get_fingerprint() == self.pin
        if not self.record.empty:
            return False
        self._new = self._accept_new
        return self._new

    def remember(self) -> bool:
        """Writes a new host's key to the first known_hosts file. Call after login, which proved
        that the host has the key. False if somebody else has recorded another key meanwhile.
        Raises OSError."""
        if not self._new or self.pin is not None:
            return True
        assert self.offered is not None
        if not self.files:
            raise OSError(
                "ssh_config says `UserKnownHostsFile none`; pin it with `host_key:` instead"
            )
        file = self.files[0]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as known:
            fcntl.flock(known, fcntl.LOCK_EX)
            self.record = read_record(self.files, self.host, self.port)
            if not self.record.empty:
                return self.offered in self.record.keys
            line = f"{known_hosts_name(self.host, self.port)} ".encode()
            line += self.offered.export_public_key().strip() + b"\n"
            size = known.seek(0, os.SEEK_END)
            if size:
                known.seek(size - 1)
                if known.read(1) != b"\n":
                    line = b"\n" + line
            known.write(line)
        return True
