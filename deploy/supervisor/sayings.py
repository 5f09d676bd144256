"""What a process said of itself, a few seconds ago and now. Pure; runs on machines (>= 3.8)."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

SPACING = 4.0  # seconds between those that are kept, but for the last
KEPT = 3
FRESH = 2.0  # seconds after which a process that says no more is taken to have nothing new to say


class Saying(NamedTuple):
    time: float
    text: str


class Before(NamedTuple):
    """`text` was true `seconds` before what is said now was: counts in both make rates."""

    text: str
    seconds: float


class Sayings:
    """Of one process, oldest first. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._kept: List[Saying] = []

    def __repr__(self) -> str:
        return f"<{len(self._kept)} sayings>"

    def hear(self, text: str, now: float) -> None:
        kept = self._kept
        if len(kept) > 1 and kept[-1].time - kept[-2].time < SPACING:
            kept.pop()
        kept.append(Saying(now, text))
        del kept[:-KEPT]

    def before(self, now: float) -> Optional[Before]:
        """None while too little has been said."""
        if len(self._kept) < 2:
            return None
        first, last = self._kept[0], self._kept[-1]
        until = last.time if now - last.time < FRESH else now
        return Before(first.text, until - first.time) if until > first.time else None
