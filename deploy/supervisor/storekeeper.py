"""The machine's store at the supervisor's socket: a process for each who asks. Machine; >= 3.8.

It is forked, not started: a Python that begins anew takes longer than most of what it is asked.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

COMM = "dora-store"  # as `ps -o comm` has it: the command line stays the supervisor's


def serve(root: Path, connection: int) -> None:
    """Has a process that is tied to nobody speak the language of `deploy.store.serve` on the open
    descriptor `connection`, of which it has its own. Raises OSError."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    status = 1
    try:
        if not os.fork():
            status = _serve(root, connection)
    finally:
        os._exit(status)


def _serve(root: Path, connection: int) -> int:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    # Locks, units' sockets and other clients are none of its business, and not to be held open.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != connection:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed them
    try:
        Path("/proc/self/comm").write_text(COMM)
    except OSError:
        pass  # it is but a name
    os.set_blocking(connection, True)
    from deploy.store.serve import main

    with open(connection, "rb", closefd=False) as stdin, open(connection, "wb") as stdout:
        return main(str(root), ["session"], stdin, stdout)
