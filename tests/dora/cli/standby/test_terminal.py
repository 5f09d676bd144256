"""The keys of a terminal, and a shell's job control, with a command that a standby does."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.dora.cli.standby.laptop import PATIENCE, Laptop, children, end, eventually


class Terminal:
    """An interactive shell in a terminal of its own, and what it shows."""

    def __init__(self, laptop: Laptop) -> None:
        self._screen, line = pty.openpty()
        fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
            cwd=laptop.project,
            env={**laptop.env, "PS1": "$ ", "TERM": "dumb"},
            stdin=line,
            stdout=line,
            stderr=line,
        )
        os.close(line)
        self._dora = " ".join(laptop.argv())
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def dora(self, words: str) -> None:
        self.type(f"{self._dora} {words}\n")

    def until(self, text: str) -> str:
        """What is shown up to there; that has been read then."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, f"no {text!r} in {self.shown!r}"
            self._look()
        before, _, self.shown = self.shown.partition(text)
        return before

    def tells(self, text: str) -> bool:
        """Whether the shell has said so; it tells what became of jobs before it prompts again."""
        self.type("\n")
        while self._look():
            pass
        return text in self.shown

    def _look(self) -> bool:
        found = bool(select.select([self._screen], [], [], 0.1)[0])
        if found:
            self.shown += os.read(self._screen, 65536).decode(errors="replace")
        return found

    def close(self) -> None:
        end(self.shell.pid)
        self.shell.wait()
        os.close(self._screen)


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    one = Laptop()
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def terminal(laptop: Laptop) -> Iterator[Terminal]:
    """One whose session has a standby already."""
    one = Terminal(laptop)
    try:
        one.dora("status; echo code $?")
        one.until("code 4")
        eventually(laptop.standby)
        yield one
    finally:
        one.close()


def test_ctrl_c_interrupts_the_command(laptop: Laptop, terminal: Terminal) -> None:
    """Once: and the shell goes on, with the exit code of what was interrupted."""
    terminal.dora("status -i deaf.yml; echo code $?")
    laptop.await_call()
    assert [] != children(laptop.standby() or 0)
    terminal.type("\x03")
    assert "Traceback" not in terminal.until("code 130")
    laptop.hang_up()


def test_ctrl_z_stops_it_and_fg_goes_on(laptop: Laptop, terminal: Terminal) -> None:
    """The shell sees its job stop and go on, as with any program."""
    terminal.dora("status -i deaf.yml")
    laptop.await_call()
    [child] = children(laptop.standby() or 0)
    terminal.type("\x1a")
    terminal.until("Stopped")
    eventually(lambda: _state(child) == "T")
    terminal.type("fg\n")
    eventually(lambda: _state(child) == "S")
    terminal.type("\x03")
    terminal.type("echo code $?\n")
    terminal.until("code 130")
    laptop.hang_up()


def test_a_stopped_job_can_be_killed(laptop: Laptop, terminal: Terminal) -> None:
    """`kill %1` reaches the command, and the shell hears of its end."""
    terminal.dora("status -i deaf.yml")
    laptop.await_call()
    [child] = children(laptop.standby() or 0)
    terminal.type("\x1a")
    terminal.until("Stopped")
    terminal.type("kill %1\n")
    eventually(lambda: child not in children(laptop.standby() or 0))
    eventually(lambda: terminal.tells("Terminated"))
    laptop.hang_up()


def test_a_command_may_ask_at_the_terminal(laptop: Laptop, terminal: Terminal) -> None:
    """It is in the foreground, and has the session's terminal: what it starts may ask, too."""
    terminal.dora("status -i deaf.yml")
    laptop.await_call()
    [child] = children(laptop.standby() or 0)
    fields = _fields(child)
    group, session, foreground = int(fields[2]), int(fields[3]), int(fields[5])
    assert (os.getsid(laptop.standby() or 0), group) == (session, foreground)
    assert fields[4] != "0"
    terminal.type("\x03")
    laptop.hang_up()


def test_closing_the_terminal_ends_command_and_standby(laptop: Laptop) -> None:
    """The kernel hangs up on the command; the session is over, and so is its standby."""
    one = Terminal(laptop)
    one.dora("status")
    standby = eventually(laptop.standby)
    one.dora("status -i deaf.yml")
    laptop.await_call()
    [child] = children(standby)
    one.close()
    eventually(lambda: not os.path.exists(f"/proc/{child}"))
    eventually(lambda: not os.path.exists(f"/proc/{standby}"))
    laptop.hang_up()


def _fields(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def _state(pid: int) -> str:
    return _fields(pid)[0]
