"""`dora standby`: whether there is one, and away with it. Laptop only."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import click

from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.cli.standby import place

PATIENCE = 5.0  # seconds that they have to end


@click.group("standby")
def command() -> None:
    """Look at the processes that wait for the next command, or stop them.

    A command that works on machines leaves one behind for five minutes: it has all loaded, and the
    next command of the same terminal is there at once. DORA_STANDBY=0 does without.
    """


@command.command("status")
@files.json_option
@exiting
async def status(as_json: bool) -> Exit:
    """Show those that are there."""
    found = _found()
    rows = [
        {"pid": it.pid, "session": it.session, "memory": it.memory, "ready": it.ready}
        for it in found
    ]

    def text(console: object) -> None:
        for it in found:
            megabytes = it.memory / 1e6
            state = "" if it.ready else ", loading"
            click.echo(f"pid {it.pid}, of session {it.session}, {megabytes:.0f} MB{state}")
        if not found:
            click.echo("there is no standby")

    Output(as_json=as_json).result({"standbys": rows}, text)
    return Exit.DONE


@command.command("stop")
@exiting
async def stop() -> Exit:
    """Stop them; commands that they have begun go on."""
    found = _found()
    for it in found:
        it.end()
    left = _left(found)
    for it in left:
        click.echo(f"pid {it.pid} has not stopped; try: kill -9 {it.pid}", err=True)
    return Exit.FAILED if left else Exit.DONE


@dataclass(frozen=True)
class _Standby:
    pid: int
    lock: Path

    @property
    def session(self) -> int:
        try:
            return os.getsid(self.pid)
        except ProcessLookupError:
            return 0

    @property
    def memory(self) -> int:
        """Bytes that are resident; many of them shared with what it was forked for."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def lives(self) -> bool:
        return place.is_held(str(self.lock))

    @property
    def ready(self) -> bool:
        """Whether it has all loaded, and listens."""
        return self.lock.with_suffix(".sock").exists()

    def end(self) -> None:
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has ended meanwhile


def _left(found: list[_Standby]) -> list[_Standby]:
    """Those that have not ended when they had the time to."""
    deadline = time.monotonic() + PATIENCE
    while any(it.lives for it in found) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [it for it in found if it.lives]


def _found() -> list[_Standby]:
    where = place.folder()
    if not place.is_private(where):
        return []
    found = []
    for lock in sorted(Path(where).glob("*.lock")):
        try:
            one = _Standby(int(lock.read_text()), lock)
        except (OSError, ValueError):
            continue  # it ends, or begins
        if one.lives:
            found.append(one)
    return found
