"""Says about once a second what goes through a node, while it changes. Node (>= 3.10).

In a thread of its own: what is lost while the program computes is to be known while it computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dora.protocol.traffic import Traffic

INTERVAL = 1.0  # s


class Reporter:
    """`look` is called from another thread; `say` tells whether it was heard."""

    def __init__(
        self,
        look: Callable[[], Traffic],
        say: Callable[[str], bool],
        interval: float = INTERVAL,
    ) -> None:
        self._look = look
        self._say = say
        self._interval = interval
        self._said = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dora-reporter", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Says it for the last time. May be called twice."""
        if not self._end.is_set():
            self._end.set()
            if threading.current_thread() is not self._thread:  # as the garbage collector may be
                self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._interval):
            self._report()
        self._report()

    def _report(self) -> None:
        text = self._look().to_text()
        if text != self._said and self._say(text):
            self._said = text
