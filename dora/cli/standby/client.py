"""What `dora` does first: has a standby do the command, where one is there for it. Laptop only.

The command's process takes this one's place in its process group, and this one leaves it: so it is
the command that the terminal's keys reach (Ctrl-C, Ctrl-Z), and that may read from the terminal.
Signals that somebody sends to this process are passed on, and it ends, stops and goes on as the
command does. Where this process dies, the kernel ends the command: `lifeline`.
"""

import os
import signal
import socket
import sys
from select import POLLIN, poll

from dora.cli.standby import place, wire
from dora.cli.standby.likeness import likeness

# The first words of what runs in its own process: what stays for long, or becomes another program,
# and what shows nothing but itself.
ALONE = frozenset({"run", "coordinator", "standby"})
ALONE_MACHINES = frozenset({"ssh"})
PATIENCE = 2.0  # seconds that a standby has to fork
# What cannot be caught, what says that this very process went wrong, or is about its children.
NOT_PASSED_ON = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGXCPU,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS,
    signal.SIGABRT, signal.SIGTTIN, signal.SIGTTOU,
}  # fmt: skip


def may_be_served(argv: list[str]) -> bool:
    """Whether the command of these words may run in a standby, or leave one behind."""
    if os.environ.get("DORA_STANDBY") == "0" or len(argv) < 2 or argv[1].startswith("-"):
        return False
    return argv[1] not in ALONE and not (argv[1] == "machines" and ALONE_MACHINES & {*argv[2:]})


def hand_over(prog_name: str) -> None:
    """Ends the process with the command's exit status, or by the signal that ended the command.
    Returns where there is no standby, or the least doubt: then nothing has happened."""
    if not may_be_served(sys.argv):
        return
    try:
        served = _Served.found(prog_name)
    except (OSError, ValueError):
        return  # the command itself runs here, and has words for what is wrong
    if served is not None:
        served.attend()


class _Served:
    """A command that a standby has begun for us."""

    def __init__(self, connection: socket.socket, words: wire.Words, pid: int, wake: int) -> None:
        self._connection = connection
        self._words = words
        self._process = os.pidfd_open(pid)
        self._wake = wake

    @classmethod
    def found(cls, prog_name: str) -> "_Served | None":
        """Raises OSError, ValueError."""
        where = place.folder()
        alike = likeness() if place.is_private(where) else None
        if alike is None:
            return None
        path = place.socket_of(alike, where)
        if not os.path.exists(path):
            return None
        files = _open_files()
        connection = socket.socket(socket.AF_UNIX)
        began = False
        lifeline, held = os.pipe()
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
        signals, group = _Signals(), os.getpgrp()
        try:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            standby, user = wire.peer(connection)
            if user != os.geteuid():
                return None
            umask = os.umask(0o77)
            os.umask(umask)
            request = wire.Request(
                alike, prog_name, sys.argv, dict(os.environb), umask, [-1, -1, *files]
            )
            words = wire.Words(connection)
            if words.next() is None:
                return None
            wire.send(connection, request, [lifeline, folder, *files])
            word, pid = words.next() or ("", 0)
            if word != "pid":
                return None
            served = cls(connection, words, pid, signals.caught())
            os.setpgid(0, standby)
            wire.say(connection, "go")
            began = True
            connection.settimeout(None)
            return served
        finally:
            os.close(lifeline)
            os.close(folder)
            if not began:
                os.close(held)
                signals.restore()
                os.setpgid(0, group)
                connection.close()

    def attend(self) -> None:
        """Until the command has ended, which ends this process."""
        polled = poll()
        polled.register(self._connection, POLLIN)
        polled.register(self._wake, POLLIN)
        while True:
            ready = dict(polled.poll())
            if self._wake in ready:
                for number in os.read(self._wake, 4096):
                    self._pass_on(number)
            if self._connection.fileno() in ready:
                self._hear()

    def _pass_on(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._process, number)
        except ProcessLookupError:
            pass  # it has ended; we shall hear how

    def _hear(self) -> None:
        while True:
            try:
                said = self._words.next()
            except ConnectionResetError:
                said = None
            if said is None:
                # nobody is left to tell how it ended; who was killed cannot
                said = ("signal", int(signal.SIGKILL))
            word, number = said
            if word == "exit":
                os._exit(number)
            if word == "signal":
                _die(number)
            if word == "stopped":
                _stop(number)
            if not self._words.waiting:
                return


class _Signals:
    """What this process does about signals, from `caught` to `restore`."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, object] = {}
        self._pipe: tuple[int, int] | None = None

    def caught(self) -> int:
        """From here on they are read from this file, as a byte each. Those that are ignored stay
        so: the command, which is alike, ignores them, too."""
        self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in signal.valid_signals() - NOT_PASSED_ON:
            if isinstance(number, signal.Signals) and signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, _noticed)
        return self._pipe[0]

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            for it in self._pipe:
                os.close(it)


def _noticed(number: int, frame: object) -> None:
    """The wakeup file has it."""


def _open_files() -> list[int]:
    """Those that the command was called with: 0, 1, 2, and what the shell has opened for it.
    Raises OSError if one of the first three is closed, or ValueError if they are too many."""
    for number in (0, 1, 2):
        os.fstat(number)
    more = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                more.append(int(name))
        except OSError:
            pass  # the one that listed them
    if len(more) > wire.MOST_FILES - 5:
        raise ValueError("too many open files")
    return [0, 1, 2, *more]


def _die(number: int) -> None:
    """By the same signal as the command, and with its exit status where that does not kill."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core has been written
    try:
        signal.signal(number, signal.SIG_DFL)
    except (OSError, ValueError):
        pass  # SIGKILL has no other way
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _stop(number: int) -> None:
    """As the command did; we go on when it does."""
    if number == signal.SIGSTOP:
        os.kill(os.getpid(), number)
        return
    before = signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.signal(number, before)
