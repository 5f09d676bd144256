"""Units' log files: their last lines, following them. Machine only; Python >= 3.8.

Units append to their file themselves, so nothing is lost while no supervisor runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Iterator, List, Optional, Tuple

from deploy.supervisor.logkeeper import LIMIT, rotated
from deploy.supervisor.logtimes import Index, Line, read

LONGEST_LINE = 64 * 1024  # bytes; longer ones are cut into several
BLOCK = 64 * 1024


def tail(
    log: Path,
    count: Optional[int],
    end: Optional[int] = None,
    *,
    since: float = 0.0,
    level: Optional[str] = None,
) -> List[Line]:
    """The last `count` lines (None: all) since that time and of that level or above, of rotated
    files too when the current one has fewer.

    What stands behind byte `end` is left to a `Follower` that begins there.
    """
    found: List[Line] = []
    after = float("inf")  # a line was there before the next one, which may know its time better
    for path in [log, *rotated(log)]:
        index = Index(path)
        for offset, data in _backwards(path, end if path == log else None):
            seen = index.time(offset)
            if seen < since:
                return found[::-1]
            cuts = range(0, max(len(data), 1), LONGEST_LINE)
            for text in [data[at : at + LONGEST_LINE] for at in reversed(cuts)]:
                if count is not None and len(found) >= count:
                    return found[::-1]
                line = read(text.decode(errors="replace"), min(seen, after))
                after = line.time
                if line.matters(level) and line.time >= since:
                    found.append(line)
    return found[::-1]


def _backwards(path: Path, end: Optional[int] = None) -> Iterator[Tuple[int, bytes]]:
    """The lines of a file with where they begin, the last first."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        whole = file.seek(0, os.SEEK_END)
        position = whole = whole if end is None else min(end, whole)
        rest = b""
        while position > 0:
            step = min(BLOCK, position)
            position = file.seek(position - step)
            block = file.read(step) + rest
            first, *lines = block.split(b"\n")
            at = position + len(block)
            for line in reversed(lines):
                at -= len(line)
                if at < whole:  # else it is what stands behind the last newline: nothing
                    yield at, line
                at -= 1
            rest = first
            if len(rest) > LIMIT // 8:  # of a line without end, pieces
                yield position, rest
                rest = b""
        if rest or whole:
            yield 0, rest


def _last_begin(file: BinaryIO, end: int) -> int:
    """Where the line begins that is being written at the end of a file; the end if there is none,
    or if it is longer than a line."""
    begin = max(0, end - LONGEST_LINE)
    file.seek(begin)
    newline = file.read(end - begin).rfind(b"\n")
    if newline >= 0:
        return begin + newline + 1
    return end if begin else 0


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
    """New lines of one log, through rotations. Starts at the end of what is there; with `whole`
    where its last line begins, if that is still being written."""

    def __init__(self, log: Path, *, from_start: bool = False, whole: bool = False) -> None:
        self.log = log
        self._file = self._open()
        self._rest = b""
        self.begin = 0
        if self._file is not None and not from_start:
            end = self._file.seek(0, os.SEEK_END)
            self.begin = self._file.seek(_last_begin(self._file, end) if whole else end)

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
            block = self._file.read(BLOCK)  # written since we looked, before it was rotated
            if block:
                return block
            self.close()  # rotated, and read to its end
            self._file = self._open()
            if self._rest:
                return b"\n"  # what had no end is no part of the next file's first line
            return b"" if self._file is None else self._file.read(BLOCK)
        if found.st_size < self._file.tell():
            self._file.seek(0)  # emptied
            self._rest = b""
            return self._file.read(BLOCK)
        return b""
