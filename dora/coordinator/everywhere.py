"""One command on many machines at the same time. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deploy.connection.base import Connection, Connector
from deploy.errors import CommandFailed, ConnectionFailed, MachineError
from deploy.inventory import Machine

# What it says on stderr comes in between, where it was said.
MERGED = ["/bin/sh", "-c", 'exec "$@" 2>&1', "sh"]


@dataclass(frozen=True)
class Ran:
    """`status` is the command's exit status, 128 + n after signal n; None if the connection could
    not be made or was lost, with the `error`."""

    machine: str
    status: int | None = None
    error: MachineError | None = None

    @property
    def unreachable(self) -> bool:
        return isinstance(self.error, ConnectionFailed)


def remote(words: Sequence[str]) -> list[str]:
    """What runs on the machine: the words as they are, or, as with ssh, a single one as a line of
    the shell there. Pure."""
    return [*MERGED, "/bin/sh", "-c", words[0]] if len(words) == 1 else [*MERGED, *words]


async def run_everywhere(
    connector: Connector,
    machines: Iterable[Machine],
    words: Sequence[str],
    on_line: Callable[[str, str], None],
) -> tuple[Ran, ...]:
    """Runs the command on all of them; `on_line` gets each line (machine, text) as it comes."""
    argv = remote(words)

    async def one(machine: Machine) -> Ran:
        try:
            connection = await connector.connect(machine)
            try:
                status = await _run(connection, argv, lambda text: on_line(machine.id, text))
            finally:
                await connection.close()
        except MachineError as error:
            return Ran(machine.id, error=error)
        return Ran(machine.id, status)

    return tuple(await asyncio.gather(*map(one, machines)))


async def _run(connection: Connection, argv: list[str], on_line: Callable[[str], None]) -> int:
    channel = await connection.open_command(argv)
    try:
        await channel.write_eof()
        while line := await channel.readline():
            on_line(line.decode(errors="replace").rstrip("\n"))
    except CommandFailed as failed:
        return failed.status
    finally:
        await channel.close()
    return 0
