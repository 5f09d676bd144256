"""Starts a program whose descriptors 3, 4, ... are sockets of ours. Machine only; Python >= 3.8.

As sd_listen_fds has it: they are given to the process that LISTEN_PID names, and every later exec
keeps its pid. Descriptors are moved while the process is made (posix_spawn), and a shell adds the
pid. Where that cannot be, a small Python program does both, which takes 15 ms more: ours is one
that does not know how to begin a session, or the environment has names that shells drop.
A `preexec_fn` can do neither: it may wait for ever for a lock that a thread held when the process
was forked.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from typing import List, Mapping, Sequence, Union

FIRST = 3  # SD_LISTEN_FDS_START
HIGH = 64  # above what is moved; nobody has as many sockets

NAMED = 'cd "$0" && export LISTEN_PID=$$ && exec "$@"'

# Python ignores two signals, and what is ignored stays so after an exec.
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
MOVE = """
import fcntl, os, signal, sys
given = [int(number) for number in sys.argv[1].split(",")]
aside = [fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, 3 + len(given)) for n in given]
for number in given:
    os.close(number)
for place, number in enumerate(aside, 3):
    os.dup2(number, place)
os.environ["LISTEN_PID"] = str(os.getpid())
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def start(
    entrance: Sequence[str],
    argv: Sequence[str],
    *,
    cwd: str,
    environment: Mapping[str, str],
    output: int,
    sockets: Sequence[int],
) -> Union[int, subprocess.Popen[bytes]]:
    """Executes `entrance`, which executes `argv`, in a session of its own in `cwd`; what it prints
    goes to `output`. Returns its pid, or a child that knows it. Raises OSError."""
    if all(name.isidentifier() and name.isascii() for name in environment):
        named = ["/bin/sh", "-c", NAMED, cwd, *argv]
        try:
            return _spawn([*entrance, *named], environment, output, sockets)
        except NotImplementedError:
            pass  # a Python that was built where no session can be begun so
    given = ",".join(map(str, sockets))
    return subprocess.Popen(
        [*entrance, sys.executable, "-I", "-S", "-c", MOVE, given, *argv],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=sockets,
    )


def _spawn(
    argv: List[str], environment: Mapping[str, str], output: int, sockets: Sequence[int]
) -> int:
    aside: List[int] = []
    try:
        # Out of the way, so that nothing is moved onto what is still to be moved.
        aside += [fcntl.fcntl(it, fcntl.F_DUPFD_CLOEXEC, HIGH) for it in (output, *sockets)]
        return os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, aside[0], 1),
                (os.POSIX_SPAWN_DUP2, aside[0], 2),
                *((os.POSIX_SPAWN_DUP2, it, n) for n, it in enumerate(aside[1:], FIRST)),
            ],
            setsid=True,
            setsigdef=IGNORED,
        )
    finally:
        for number in aside:
            os.close(number)
