"""The standby: has `dora` loaded, and forks a child for each command that is handed over.

Laptop only. It holds no connection, no secret and nothing of its user's: its environment is the
little that Python needs, its files are /dev/null, and what clients send is read by the child. It
stays in the session that it was started from, for then its children have that session's terminal,
but in a process group of its own.

It ends after five minutes without a command, with its session, when a file changed that it was
loaded from, and on SIGTERM; commands that it has begun are seen to their end.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dora.cli.standby import heir, place, wire
from dora.cli.standby.likeness import likeness
from dora.cli.standby.sources import Sources

IDLE = 300.0  # seconds
LOOK = 15.0  # seconds between looks at the files, when there is nothing else to do

# With all that they import in turn. What starts threads of its own must not be among it.
LOADED = (
    "asyncio.subprocess", "concurrent.futures.thread", "rich.console", "rich.live",
    "rich.table", "rich.markup", "deploy.connection.ssh", "dora.cli.deploying", "dora.cli.status",
    "dora.cli.logs", "dora.cli.stop", "dora.cli.rollback", "dora.cli.generations",
    "dora.cli.machines", "dora.cli.restart", "dora.cli.topic", "dora.cli.deploy", "dora.cli.gc",
)  # fmt: skip

Command = tuple[str, Callable[[int], None]]


def main() -> None:
    """`python -c BOOT`, see `start`. Ends the process, as the standby or as a command."""
    began = time.time_ns()
    alike = likeness()
    if alike is None:
        return
    os.chdir("/")
    where = place.folder()
    os.makedirs(where, 0o700, exist_ok=True)
    if not place.is_private(where):
        return
    path = place.socket_of(alike, where)
    lock = _claim(place.lock_of(path))
    if lock is None:
        return  # there is one already
    _remove(path)  # of one that was killed
    sources = _load()
    if not sources.older_than(began) or _threads() > 1:
        return
    gc.collect()
    gc.freeze()
    standby = Standby(path, lock, alike, sources)
    try:
        command = standby.serve()
    finally:
        standby.close()
    if command is not None:
        from dora.cli import program

        program.run(*command)


def _claim(path: str) -> int | None:
    """Holds the lock from now on; None where somebody else does."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino != os.stat(path).st_ino:
            raise BlockingIOError  # who had it took it away as it left
    except (BlockingIOError, FileNotFoundError):
        os.close(lock)
        return None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _listen(path: str) -> socket.socket:
    """At a path that is not there before somebody listens."""
    listener = socket.socket(socket.AF_UNIX)
    _remove(path + "+")
    mask = os.umask(0o177)
    listener.bind(path + "+")
    os.umask(mask)
    listener.listen(16)
    listener.setblocking(False)
    os.rename(path + "+", path)
    return listener


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # somebody cleaned up, or it was never there


def _load() -> Sources:
    gc.disable()
    from deploy import agent

    for name in LOADED:
        importlib.import_module(name)
    agent.bundle()
    gc.enable()
    return Sources.of_this_program()


def _threads() -> int:
    """Python's and others: who forks must be the only one."""
    return max(threading.active_count(), len(os.listdir("/proc/self/task")))


@dataclass
class _Child:
    connection: socket.socket
    client: int  # a file that stands for the client's process
    stopped: bool = False


class Standby:
    """Serves until it is to end. `serve` returns twice: None in the standby, and what to do in
    each child that is to become a command."""

    def __init__(
        self, path: str, lock: int, alike: str, sources: Sources, idle: float = IDLE
    ) -> None:
        self._idle = idle
        self._path = path
        self._lock = lock
        self._alike = alike
        self._sources = sources
        self._children: dict[int, _Child] = {}
        self._owner = os.getpid()
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = {it: signal.getsignal(it) for it in (signal.SIGCHLD, *ENDING)}
        self._session = _process(os.getsid(0))
        self._listener = _listen(path)

    def serve(self) -> Command | None:
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in self._before:
            signal.signal(number, _noticed)
        polled = select.poll()
        files = [self._wake, self._listener.fileno()]
        files += [] if self._session is None else [self._session]
        for file in files:
            polled.register(file, select.POLLIN)
        last = time.monotonic()
        while True:
            ready = {file for file, _ in polled.poll(min(LOOK, self._idle) * 1000)}
            if self._wake in ready and any(it in ENDING for it in os.read(self._wake, 4096)):
                break
            self._reap()
            if self._session in ready or not self._may_go_on():
                break
            if self._listener.fileno() in ready:
                last = time.monotonic()
                if (connection := self._begin()) is not None:
                    return self._become(connection)
            if self._children:
                last = time.monotonic()
            elif time.monotonic() - last > self._idle:
                break
        self._stop_listening()
        while self._children:
            polled.poll(LOOK * 1000)
            self._drain()
            self._reap()
        return None

    def _may_go_on(self) -> bool:
        return os.path.exists(self._path) and self._sources.unchanged and _threads() == 1

    def close(self) -> None:
        """Takes away what is ours on the disk; nothing in a child."""
        if os.getpid() == self._owner:
            self._stop_listening()

    def _begin(self) -> socket.socket | None:
        """A child for the next client; its connection there, None here."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None  # it changed its mind
        try:
            client, user = wire.peer(connection)
            if user != os.geteuid():
                raise PermissionError
            process = os.pidfd_open(client)
        except OSError:
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            os.close(process)
            return connection
        self._children[pid] = _Child(connection, process)
        return None

    def _become(self, connection: socket.socket) -> Command:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._listener.close()
        for child in self._children.values():
            child.connection.close()
            os.close(child.client)
        for file in (self._wake, self._woken, self._lock, self._session):
            if file is not None:
                os.close(file)
        try:
            connection.setblocking(True)
            return heir.become(connection, self._alike)
        except (heir.Declined, OSError, ValueError):
            os._exit(1)  # the client hears the connection end, and does it all itself

    def _reap(self) -> None:
        """Tells clients what became of their commands."""
        while self._children:
            how = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
            pid, status = os.waitpid(-1, how)
            if pid == 0:
                return
            child = self._children[pid]
            if os.WIFSTOPPED(status):
                child.stopped = True
                _tell(child, "stopped", os.WSTOPSIG(status))
                continue
            if os.WIFSIGNALED(status):
                _tell(child, "signal", os.WTERMSIG(status))
            elif os.WIFEXITED(status):
                _tell(child, "exit", os.WEXITSTATUS(status))
            if child.stopped:
                child.stopped = False
                _continue(child)
            if not os.WIFCONTINUED(status):
                child.connection.close()
                os.close(child.client)
                del self._children[pid]

    def _drain(self) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass  # there was nothing

    def _stop_listening(self) -> None:
        if self._listener.fileno() == -1:
            return
        self._listener.close()
        _remove(self._path)
        _remove(place.lock_of(self._path))
        os.close(self._lock)


ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def _noticed(number: int, frame: object) -> None:
    """The wakeup file has it."""


def _process(pid: int) -> int | None:
    """A file that stands for it; None where it is gone."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _tell(child: _Child, word: str, number: int) -> None:
    try:
        wire.say(child.connection, word, number)
    except OSError:
        pass  # the client is gone, or has heard it from the command itself


def _continue(child: _Child) -> None:
    try:
        signal.pidfd_send_signal(child.client, signal.SIGCONT)
    except ProcessLookupError:
        pass  # it is gone
