"""Starts the supervisor so that it outlives the SSH channel. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import Any, Callable, Dict, Optional

from deploy.supervisor import title
from deploy.supervisor.client import ask
from deploy.supervisor.launch import agent_command
from deploy.supervisor.layout import Layout, private
from deploy.supervisor.proc import alive, start_time

SERVICE = 5.0  # seconds for one that somebody else starts
PATIENCE = 20.0  # seconds until a supervisor must answer
LOG_LIMIT = 1024 * 1024  # bytes of the supervisor's own log that are kept from before


class StartFailed(Exception):
    """No supervisor runs; the message says why."""


def start(
    layout: Layout,
    agent: str,
    service: Callable[[], bool] = lambda: False,
    supervise: Optional[Callable[[], int]] = None,
) -> Dict[str, Any]:
    """Makes sure that a supervisor of this agent runs, and returns its `hello`.

    Where none runs, `service` is asked first: it tells whether somebody else is starting one. One
    of another agent is told to go on as this one. `supervise` is that agent's supervisor, where it
    is this process's own program. Raises StartFailed, UnsafeFolder, OSError.
    """
    layout.prepare()
    if ask(layout.socket, "hello", stay=True) is None and service():
        _await(layout)
    deadline = time.monotonic() + PATIENCE
    pid, born = 0, 0
    while True:
        # what is about to leave for want of work would be gone when the laptop's next word comes
        hello = ask(layout.socket, "hello", stay=True)
        if hello is not None and hello.get("agent") == agent:
            return hello
        if hello is not None:
            reply = ask(layout.socket, "upgrade", 30.0, agent=agent, python=sys.executable)
            if reply is not None and not reply.get("ok"):
                raise StartFailed(str(reply.get("error")))
        elif not pid or not alive(pid, born):
            if pid and time.monotonic() > deadline - PATIENCE / 2:
                raise StartFailed("the supervisor ended at once: " + _log_tail(layout))
            pid = spawn_detached(layout, agent, supervise)
            born = start_time(pid) or 0
        if time.monotonic() > deadline:
            raise StartFailed(f"no supervisor answers after {PATIENCE:g} s: " + _log_tail(layout))
        time.sleep(0.01)


def _await(layout: Layout) -> None:
    """Until a supervisor answers, or long enough has been waited for it."""
    deadline = time.monotonic() + SERVICE
    while ask(layout.socket, "hello", stay=True) is None and time.monotonic() < deadline:
        time.sleep(0.02)


def spawn_detached(
    layout: Layout, agent: str, supervise: Optional[Callable[[], int]] = None
) -> int:
    """The pid of a supervisor process that has no tie to us; `supervise`: see `start`.
    Raises StartFailed."""
    private(layout.run)
    reader, writer = os.pipe()  # closed when it is on its way: then nothing but the pid is in it
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(writer, b"%d\n" % os.getpid())
            _become(layout, agent, writer, supervise)
        except BaseException as error:
            os.write(writer, str(error).encode()[:500])
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    pid, _, failure = said.partition(b"\n")
    if failure or not pid.isdigit():
        raise StartFailed(f"cannot start the supervisor: {said.decode(errors='replace')}")
    return int(pid)


def _become(layout: Layout, agent: str, keep: int, supervise: Optional[Callable[[], int]]) -> None:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = os.open(str(layout.supervisor_log), flags, 0o600)
    if os.fstat(log).st_size > LOG_LIMIT:
        os.ftruncate(log, 0)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != keep:
            try:
                os.close(descriptor)
            except OSError:
                pass  # the one that listed them
    argv = [*agent_command(layout, agent, sys.executable), "supervise"]
    # Without exec it is there sooner: most of its modules have been loaded, and Python has.
    if supervise is not None and title.show(argv):
        os.close(keep)
        _run(supervise)
    os.execv(argv[0], argv)


def _run(supervise: Callable[[], int]) -> None:
    """Ends the process with its exit status, without going back into what it was forked from."""
    status = 1
    try:
        status = supervise()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _log_tail(layout: Layout) -> str:
    try:
        return layout.supervisor_log.read_bytes()[-1000:].decode(errors="replace").strip()
    except OSError:
        return "(it wrote no log)"
