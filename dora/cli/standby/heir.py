"""A standby's child that becomes a command: it takes over all that the client has. Laptop only."""

from __future__ import annotations

import fcntl
import io
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TextIO

from dora.cli.standby import wire

HERE = 128  # files that came are kept from here on until they get the numbers they had


class Declined(Exception):
    """It cannot be this command; nothing was done for it, and the client runs it itself."""


def become(connection: socket.socket, likeness: str) -> tuple[str, Callable[[int], None]]:
    """Makes this process the command that the client asks for. Returns the program's name, and
    what tells the client how it ended. Raises Declined, OSError or ValueError."""
    group = os.getpgid(wire.peer(connection)[0])
    wire.say(connection, "here")
    request, files = wire.receive(connection)
    if request.likeness != likeness:
        raise Declined("another program, or another place")
    # What the terminal sends from here on is for the command, and waits until it begins.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.setpgid(0, group)
    connection = _out_of_the_way(connection)
    _tie(_take(request, files))
    os.umask(request.umask)
    _become_environment(request.environment)
    sys.argv[:] = request.argv
    _reopen()
    wire.say(connection, "pid", os.getpid())
    if wire.Words(connection).next() != ("go", 0):
        raise Declined("the client did not go on")

    def told(status: int) -> None:
        try:
            wire.say(connection, "exit", status)
        except OSError:
            pass  # the client is gone, and has no use for it

    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return request.prog_name, told


def _out_of_the_way(connection: socket.socket) -> socket.socket:
    moved = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, HERE)
    connection.close()
    return socket.socket(fileno=moved)


def _take(request: wire.Request, files: list[int]) -> int:
    """Goes into the working folder, and gives open files the numbers that they have in the client.
    Returns the lifeline."""
    high = 1 + max(HERE, *request.numbers)
    moved = [fcntl.fcntl(it, fcntl.F_DUPFD_CLOEXEC, high) for it in files]
    for it in files:
        os.close(it)
    lifeline, folder, *opened = moved
    os.fchdir(folder)
    os.close(folder)
    for it, number in zip(opened, request.numbers[2:], strict=True):
        os.dup2(it, number)
        os.close(it)
    return lifeline


def _tie(lifeline: int) -> None:
    """Has the kernel kill this process once nobody holds the other end: when the client dies."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        raise Declined("the client is gone")


def _become_environment(environment: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    tempfile.tempdir = None  # made of variables when it is asked for


def _reopen() -> None:
    """Standard files as Python opens them when it starts."""
    sys.stdin = sys.__stdin__ = _text(0, "r", "<stdin>", sys.__stdin__)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text(1, "w", "<stdout>", sys.__stdout__)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, "w", "<stderr>", sys.__stderr__)  # type: ignore[misc]


def _text(number: int, mode: str, name: str, like: TextIO | None) -> io.TextIOWrapper:
    """Encoded as what the standby has in that place: that is a matter of the locale."""
    if like is None:
        raise Declined("a standby without standard files")
    raw = io.FileIO(number, mode, closefd=False)
    raw.name = name
    buffered = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    lines = number == 2 or raw.isatty()
    text = io.TextIOWrapper(buffered, like.encoding, like.errors, "\n", line_buffering=lines)
    text.mode = mode  # type: ignore[misc]
    return text
