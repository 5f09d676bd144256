"""Ticks while calls run, so that one that runs away can be cut off. Node (>= 3.10).

A thread that lives as long as there is something to time, and a second longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import ceil

TICK = 0.01  # seconds
_IDLE = 1.0  # seconds without a call, after which the thread ends


class Metronome:
    """`tick` is called every 10 ms while somebody is between `begin` and `end`, in a thread."""

    def __init__(self, tick: Callable[[], None], wait: Callable[[float], None] = time.sleep):
        self.ticks = 0
        self._tick = tick
        self._wait = wait
        self._lock = threading.Lock()
        self._running = 0
        self._begun = 0
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        with self._lock:
            self._running += 1
            self._begun += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)
                self._thread.start()

    def end(self) -> None:
        with self._lock:
            self._running -= 1

    def _run(self) -> None:
        seen, idle = 0, 0.0
        while True:
            self._wait(TICK)
            self.ticks += 1
            self._tick()
            with self._lock:
                idle = 0.0 if self._running or self._begun != seen else idle + TICK
                seen = self._begun
                if idle >= _IDLE:
                    self._thread = None
                    return


def ticks_in(seconds: float) -> int:
    """So many ticks last at least `seconds`: the first may come at once."""
    return ceil(seconds / TICK) + 1
