"""What a command's end means to the shell: errors -> exit codes and texts. Laptop only."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any

import click

from deploy.errors import (
    ConnectionFailed,
    DeployError,
    InvalidFile,
    LockHeld,
    Refused,
    UpdatesHeld,
)
from dora.cli.harmless import harmless
from dora.errors import DataflowError, DoraError, PlacementError, PlanFileError, StalePlan

STARTING = 2.0  # seconds


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    UNREACHABLE = 4
    ROLLED_BACK = 5
    CONFLICT = 6
    INTERRUPTED = 130


def exit_code(error: BaseException) -> Exit:
    """The one table from errors to exit codes."""
    if isinstance(error, InvalidFile | DataflowError | PlacementError | PlanFileError):
        return Exit.INVALID
    if isinstance(error, ConnectionFailed):
        return Exit.UNREACHABLE
    if isinstance(error, LockHeld | UpdatesHeld | StalePlan):
        return Exit.CONFLICT
    if isinstance(error, Refused) and error.code in ("stale", "updating"):
        return Exit.CONFLICT
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    return Exit.FAILED


def complain(error: DoraError | DeployError) -> None:
    """Writes the error and its hint to stderr."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(harmless(error.message), err=True)
    if error.hint:
        click.secho("  try: ", fg="cyan", nl=False, err=True)
        click.echo(harmless(error.hint).replace("\n", "\n       "), err=True)


async def _started(work: Coroutine[Any, Any, Exit]) -> Exit:
    """Has garbage collected again, which starting does without, once connections are made."""
    asyncio.get_running_loop().call_later(STARTING, gc.enable)
    return await work


def exiting(work: Callable[..., Coroutine[Any, Any, Exit]]) -> Callable[..., None]:
    """Runs a command's coroutine and ends the process with its exit code."""

    @functools.wraps(work)
    def run(**arguments: Any) -> None:
        try:
            sys.exit(asyncio.run(_started(work(**arguments))))
        except (DoraError, DeployError) as error:
            complain(error)
            sys.exit(exit_code(error))
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has seen enough (`dora logs | head`).
            sys.stderr.close()
            sys.exit(Exit.DONE)

    return run
