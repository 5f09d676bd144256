"""When a line of a log was printed, and how much it matters. Machine only; Python >= 3.8.

A line of JSON with a `timestamp` and a `level` says so itself, as those of a node's logger do. Of
others the index beside the log tells the second (see `deploy.supervisor.logkeeper`); of what was
printed while no supervisor ran, when the next one came; and their level is `stdout`, the lowest.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from datetime import datetime
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from deploy.supervisor.logkeeper import times

LEVELS = ("stdout", "trace", "debug", "info", "warn", "error")


class Line(NamedTuple):
    """`time` in seconds since the epoch, by the machine's clock."""

    time: float
    level: str
    text: str

    def matters(self, level: Optional[str]) -> bool:
        """Whether it is of that level or above; everything is, without one."""
        return level is None or LEVELS.index(self.level) >= LEVELS.index(level)


class Index:
    """The index of one log file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._sizes: List[int] = []
        self._times: List[float] = []
        try:
            self._end = path.stat().st_mtime
        except OSError:
            self._end = 0.0
        try:
            rows = times(path).read_bytes().split(b"\n")
        except OSError:  # none yet, or none that can be read
            rows = []
        for row in rows:
            wall, _, size = row.partition(b" ")
            try:
                entry = int(size), float(wall)
            except ValueError:
                continue  # cut off by a full disk
            if not self._sizes or entry[0] > self._sizes[-1]:
                self._sizes.append(entry[0])
                self._times.append(entry[1])

    def time(self, offset: int) -> float:
        """When what stands at this byte was there for the first time."""
        at = bisect_right(self._sizes, offset)
        return self._times[at] if at < len(self._times) else self._end


def read(text: str, seen: float) -> Line:
    """The line, of which the index or the clock says `seen`."""
    said = _said(text)
    time, level = (None, None) if said is None else said
    return Line(seen if time is None else time, level or "stdout", text)


def _said(text: str) -> Optional[Tuple[Optional[float], Optional[str]]]:
    if not text.startswith("{"):
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    level, stamp = data.get("level"), data.get("timestamp")
    known = level if isinstance(level, str) and level in LEVELS else None
    if known is None or not isinstance(stamp, str):
        return None, known
    try:
        # older Pythons do not know the Z
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp(), known
    except (ValueError, OverflowError):
        return None, known
