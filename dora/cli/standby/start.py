"""Leaves a standby behind, once a command has loaded what the next one will need. Laptop only."""

from __future__ import annotations

import os
import subprocess
import sys

from dora.cli.standby import place
from dora.cli.standby.client import may_be_served
from dora.cli.standby.likeness import READ_EARLY, likeness

BOOT = "import sys; sys.path[:] = sys.argv[1:]; from dora.cli.standby.server import main; main()"
# Of the environment, beside what makes processes alike: where its socket is, and where Python may
# look for files of the user's. Nothing else: there may be secrets in it.
KEPT = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")

_worth_it = False


def is_worth_it() -> None:
    """Said by commands that have loaded much, and that users call again and again."""
    global _worth_it
    _worth_it = True


def if_worth_it() -> None:
    """Starts one, if there is none and there may be one; never an error."""
    if not _worth_it or not may_be_served(sys.argv):
        return
    try:
        alike = likeness()
        if alike is None:
            return
        socket = place.socket_of(alike, place.folder())
        if not place.is_held(place.lock_of(socket)):
            _spawn()
    except OSError:
        return  # then the next command takes its time as this one did


def _spawn() -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith(READ_EARLY)
    }
    # Not os.posix_spawn: it has signals ignored there that are the C library's own.
    standby = subprocess.Popen(
        [sys.executable, "-c", BOOT, *sys.path],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    standby.returncode = 0  # it is not ours to wait for
