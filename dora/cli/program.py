"""A command from its words to the end of its process, as short as that can be made. Laptop only."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable

from dora.cli.commands import main
from dora.cli.standby import start


def run(prog_name: str, told: Callable[[int], object] | None = None) -> None:
    """Does what sys.argv says, and ends the process. `told` hears the exit status as soon as
    nothing of the command is left to do; without it a standby is started, where that is worth it.
    """
    try:
        main(prog_name=prog_name)
    except SystemExit as ended:
        if told is None:
            start.if_worth_it()
        leave(ended.code, told)
        raise


def leave(code: object, told: Callable[[int], object] | None = None) -> None:
    """Ends the process as sys.exit would, without taking apart all that it has loaded. Returns
    where that would make a difference."""
    status = 0 if code is None else code
    if not isinstance(status, int) or threading.active_count() > 1:
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        return  # Python has its own words for that, and its own exit status
    if told is not None:
        told(status & 0xFF)
    os._exit(status & 0xFF)
