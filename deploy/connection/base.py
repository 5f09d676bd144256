"""What a connection to a machine can do: run a command, open a channel, close. Laptop only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deploy.inventory import Machine


@dataclass(frozen=True)
class Completed:
    """A command that ended by itself on the machine."""

    status: int  # exit status; 128 + n when a signal ended it
    stdout: bytes
    stderr: str


class Channel(Protocol):
    """A two-way stream of bytes: a running command's stdin and stdout, or a Unix socket."""

    async def write(self, data: bytes) -> None:
        """Returns when the data is on its way and buffers are not overfull.
        Raises ConnectionLost."""

    async def write_eof(self) -> None:
        """Ends our side of the stream; reading goes on."""

    async def read(self, limit: int = 262144) -> bytes:
        """At least one byte, at most `limit`; b"" at the end of the stream.
        Raises ConnectionLost when the connection died: the end of the stream is never faked."""

    async def readline(self) -> bytes:
        """A line with its newline; what is left at the end of the stream; b"" after it."""

    async def close(self) -> None:
        """Ends the channel. May be called twice. Raises nothing."""


class Connection(Protocol):
    """An authenticated way to one machine. Every method raises ConnectionLost when it has died."""

    machine: Machine

    async def run(self, argv: list[str], stdin: bytes = b"", *, timeout: float = 60) -> Completed:
        """Runs a command to its end, without a shell's interpretation of `argv`.
        Raises MachineError when it has not ended after `timeout` seconds."""

    async def open_command(self, argv: list[str]) -> Channel:
        """Starts a command and returns its stdin and stdout. Its stderr (last 4 KB) is in the
        ConnectionLost or CommandFailed that `read` raises instead of b"" if it ends badly."""

    async def open_socket(self, path: str) -> Channel:
        """Connects to a Unix socket on the machine. Raises MachineError when nobody listens."""

    async def closed(self) -> None:
        """Returns when the connection has died or was closed, not before."""

    async def close(self) -> None:
        """Ends the connection and its channels. May be called twice. Raises nothing."""


class Connector(Protocol):
    """How connections come about; the seam between deciding and SSH."""

    async def connect(self, machine: Machine) -> Connection:
        """Raises ConnectionFailed, with the cause and what to do about it, within seconds."""

    async def close(self) -> None:
        """Ends what the connector itself started (embedded servers). Connections end with it."""
