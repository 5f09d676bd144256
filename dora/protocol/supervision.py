"""What a unit and whoever keeps it running tell each other. Runs in nodes and routers (>= 3.10).

The unit says by sd_notify that it is ready, and inherits sockets as sd_listen_fds tells; the other
side asks it with lines on a FIFO: `stop` to leave, `status` to say again what it said when maybe
nobody listened, and to hand over copies of the sockets that it inherited.
"""

from __future__ import annotations

import array
import errno
import logging
import os
import socket
import stat
from dataclasses import dataclass, field

CONTROL = "DEPLOY_CONTROL"  # path of the FIFO
RESTARTS = "DEPLOY_RESTARTS"  # how often the process was restarted
NOTIFY_SOCKET = "NOTIFY_SOCKET"
LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
WATCHDOG = "WATCHDOG_USEC"

STOP = "stop"
STATUS = "status"
RELOAD = "reload"  # and what it takes over, which at its start is $DEPLOY_RELOAD
RELOAD_AT_START = "DEPLOY_RELOAD"

_LONGEST_LINE = 4096
_FIRST_SOCKET = 3
_ALIVE = "WATCHDOG=1"
_STATUS = "STATUS="

logger = logging.getLogger("dora")


@dataclass
class _Said:
    """What this process has told and was given, for when it is asked again."""

    ready: bool = False
    status: str | None = None
    sockets: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> descriptor, inode


_said = _Said()


class ControlPipe:
    """The reading end of the FIFO in $DEPLOY_CONTROL.

    Held open for writing too, so that it never reads as ended when a writer goes. `status` is
    answered on the way and not among the lines.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError if the FIFO cannot be opened."""
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self._unread: list[str] = []

    @classmethod
    def from_environment(cls) -> ControlPipe | None:
        """None outside of a supervised process. Raises OSError as the constructor."""
        path = os.environ.get(CONTROL)
        return cls(path) if path else None

    def fileno(self) -> int:
        return self._fd

    def read_lines(self) -> list[str]:
        """The complete lines that have come; never blocks."""
        self._read()
        lines, self._unread = self._unread, []
        return lines

    def asked_to_stop(self) -> bool:
        """Whether `stop` has come; it stays among the lines. Never blocks."""
        self._read()
        return STOP in self._unread

    def remind(self) -> None:
        """After `asked_to_stop`, for whoever waits for the pipe: what came comes once more."""
        lines, self._unread = self._unread, []
        os.write(self._fd, "".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read(self) -> None:
        if self._fd < 0:
            return  # closed, while another thread still sends
        try:
            data = os.read(self._fd, _LONGEST_LINE)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        said = [line.decode("utf-8", "replace").strip() for line in lines]
        if STATUS in said and _said.ready:
            notify_ready()
            if _said.status is not None:
                notify_status(_said.status)
            _give_sockets()
        self._unread += [line for line in said if line != STATUS]


def notify_ready() -> None:
    """Tells $NOTIFY_SOCKET, if there is one, that this process is ready.

    A listener that is away (killed, and not yet replaced) is no reason not to run: its successor
    asks with `status`.
    """
    _said.ready = True
    _notify("READY=1")


def notify_alive() -> None:
    """Tells $NOTIFY_SOCKET that this process does not hang; see `watchdog_interval`."""
    _notify(_ALIVE)


def notify_unwatched() -> None:
    """Tells $NOTIFY_SOCKET that this process wants no watchdog any more."""
    _notify(f"{WATCHDOG}=0")


def notify_status(text: str) -> bool:
    """Tells $NOTIFY_SOCKET what this process is at: one line, below 4 KB. Whether it was heard."""
    _said.status = text
    return _notify(f"{_STATUS}{text}")


def notify_done() -> bool:
    """Tells $NOTIFY_SOCKET that the deployment which this process belongs to has done its work: all
    of its processes on this machine are to end, and stay so. Whether it was heard."""
    return _notify("X_DEPLOYMENT=done")


def notify_reloaded(worked: bool) -> None:
    """Answers `reload`: this process has taken over what it was told, or goes on without it."""
    _notify("READY=1" if worked else f"ERRNO={errno.EINVAL}")


def watchdog_interval() -> float | None:
    """Seconds of silence after which this process is killed; None if it has no watchdog.

    `notify_alive` is to be called at least twice as often, from `notify_ready` on.
    """
    text = os.environ.get(WATCHDOG, "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else None


def inherited_sockets() -> dict[str, int]:
    """The listening sockets that this process was given, by name, as sd_listen_fds does.

    Once: the variables are removed, so that children do not take them for theirs, and a second
    call returns {}. The descriptors are the caller's and are not inherited by children. Of several
    with one name, the first; a descriptor without a name is `unknown`.
    """
    pid, count, names = (os.environ.pop(variable, "") for variable in LISTEN)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return {}
    named = names.split(":") if names else []
    sockets: dict[str, int] = {}
    for index in range(int(count)):
        fd = _FIRST_SOCKET + index
        os.set_inheritable(fd, False)
        name = named[index] if index < len(named) and named[index] else "unknown"
        sockets.setdefault(name, fd)
    _said.sockets = {name: (fd, os.fstat(fd).st_ino) for name, fd in sockets.items()}
    return sockets


def _give_sockets() -> None:
    """Copies for a supervisor that lost its own when its predecessor was killed."""
    for name, (fd, inode) in _said.sockets.items():
        try:
            found = os.fstat(fd)
        except OSError:
            continue  # closed by whoever had it; the number may also be another file's by now
        if stat.S_ISSOCK(found.st_mode) and found.st_ino == inode:
            _notify(f"FDSTORE=1\nFDNAME={name}", fd)


def _notify(message: str, *descriptors: int) -> bool:
    path = os.environ.get(NOTIFY_SOCKET)
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendmsg(
                [message.encode()], rights if descriptors else [], socket.MSG_DONTWAIT, address
            )
        except OSError as error:
            if message.startswith(_STATUS):
                return False  # the caller says it again
            # a WATCHDOG=1 is said often, and one that finds the queue full of others is not missed
            unheard = (_ALIVE, f"{WATCHDOG}=0")
            level = logging.DEBUG if message in unheard else logging.WARNING
            logger.log(level, "nobody hears %s (%s): %s", message.split("\n")[0], path, error)
            return False
    return True
