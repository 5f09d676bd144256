"""Units' log files: their last lines, following them. Machine only; Python >= 3.8.

Units append to their file themselves, so nothing is lost while no supervisor runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, List, Optional

from deploy.supervisor.logkeeper import LIMIT, previous

LONGEST_LINE = 64 * 1024  # bytes; longer ones are cut into several
BLOCK = 64 * 1024


def tail(log: Path, count: int, end: Optional[int] = None) -> List[str]:
    """The last `count` lines, of the rotated file too when the current one has fewer.

    What stands behind byte `end` is left to a `Follower` that begins there.
    """
    lines = _last(log, count, end)
    if len(lines) < count:
        lines = _last(previous(log), count - len(lines)) + lines
    return [line.decode(errors="replace") for line in lines]


def _last(path: Path, count: int, end: Optional[int] = None) -> List[bytes]:
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            position = position if end is None else min(end, position)
            data = b""
            while position > 0 and data.count(b"\n") <= count and len(data) < LIMIT:
                step = min(BLOCK, position)
                position = file.seek(position - step)
                data = file.read(step) + data
    except FileNotFoundError:
        return []
    lines: List[bytes] = []
    for line in data.split(b"\n"):
        lines += [line[at : at + LONGEST_LINE] for at in range(0, max(len(line), 1), LONGEST_LINE)]
    if lines[-1] == b"":
        lines.pop()
    return lines[-count:]


def ending(log: Path, count: int = 20, size: int = 4096) -> List[str]:
    """The last `count` lines of the log, as far as they fit into its last `size` bytes.

    Of a line that does not fit, its end.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            data = file.read(size)
    except FileNotFoundError:
        return []
    return last_lines(data, count, cut=end > size)


def last_lines(data: bytes, count: int = 20, *, cut: bool = False) -> List[str]:
    """The last `count` lines of `data`; of what is `cut` off at the front, whole lines."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if cut and len(lines) > 1:
        lines = lines[1:]  # its begin is not there
    return [line.decode(errors="replace") for line in lines[-count:]]


class Follower:
    """New lines of one log, through rotations. Starts at the end of what is there."""

    def __init__(self, log: Path, *, from_start: bool = False) -> None:
        self.log = log
        self._file = self._open()
        self._rest = b""
        self.begin = 0
        if self._file is not None and not from_start:
            self.begin = self._file.seek(0, os.SEEK_END)

    def read(self, limit: int = 1000) -> List[str]:
        """Complete lines that came since the last call, about `limit` at most."""
        lines: List[bytes] = []
        while len(lines) < limit:
            block = self._read()
            if not block:
                break
            *whole, self._rest = (self._rest + block).split(b"\n")
            lines += whole
            while len(self._rest) > LONGEST_LINE:
                lines.append(self._rest[:LONGEST_LINE])
                self._rest = self._rest[LONGEST_LINE:]
        return [line.decode(errors="replace") for line in lines]

    def rest(self) -> List[str]:
        """What stands after the last newline, for when nothing more can come."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> Optional[BinaryIO]:
        try:
            return self.log.open("rb")
        except FileNotFoundError:
            return None

    def _read(self) -> bytes:
        if self._file is None:
            self._file = self._open()
        if self._file is None:
            return b""
        block = self._file.read(BLOCK)
        if block:
            return block
        try:
            found = os.stat(str(self.log))
        except FileNotFoundError:
            return b""
        ours = os.fstat(self._file.fileno())
        if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino):
            self.close()  # rotated, and read to its end
            self._file = self._open()
            return b"" if self._file is None else self._file.read(BLOCK)
        if found.st_size < self._file.tell():
            self._file.seek(0)  # emptied
            self._rest = b""
            return self._file.read(BLOCK)
        return b""
