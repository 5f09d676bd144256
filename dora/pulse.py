"""Tells the supervisor that the program does not hang, for its watchdog. Node (>= 3.10)."""

from __future__ import annotations

import time
from collections.abc import Callable

from dora.protocol.supervision import notify_alive, notify_unwatched, watchdog_interval

_GAP = 10  # signs of life in an interval at most, as each costs a system call or two
_WAITING = 3  # in an interval while the program waits for an event


class Pulse:
    """`sign` is called when the program asks for an event or sends something, and again at `due`
    as long as it waits for an event. After `interval` seconds without it the process is killed,
    or a tenth earlier: signs that follow within a tenth of the interval are not passed on."""

    def __init__(
        self,
        interval: float,
        *,
        beat: Callable[[], None] = notify_alive,
        rest: Callable[[], None] = notify_unwatched,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gap = interval / _GAP
        self._waiting = interval / _WAITING
        self._beat = beat
        self._rest = rest
        self._clock = clock
        self._last = clock() - interval
        self._ended = False

    @classmethod
    def from_environment(cls) -> Pulse | None:
        """None if nobody watches."""
        interval = watchdog_interval()
        return None if interval is None else cls(interval)

    @property
    def due(self) -> float | None:
        """Monotonic seconds; None after `end`."""
        return None if self._ended else self._last + self._waiting

    def sign(self) -> None:
        now = self._clock()
        if not self._ended and now - self._last >= self._gap:
            self._last = now
            self._beat()

    def end(self) -> None:
        """No event will come any more: what the program does after that takes as long as it takes.
        May be called twice."""
        if not self._ended:
            self._ended = True
            self._rest()
