"""A `dora` command that stays, such as `dora attach --json`, and what it said and when."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.scenarios.fleet import Fleet, wait_until

Row = dict[str, Any]


class Follower:
    """A context manager; its rows are those of stdout that are JSON objects."""

    def __init__(self, fleet: Fleet, *arguments: object) -> None:
        self._arguments = [str(it) for it in (*arguments, "--json")]
        self._fleet = fleet
        self.rows: list[tuple[float, Row]] = []  # monotonic seconds
        self._said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Follower:
        self._process = self._fleet.start(*self._arguments)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._thread is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._thread.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def first(self, wanted: Callable[[Row], object], since: float = 0.0) -> float:
        """When it said what is wanted, for the first time since then; waits for it."""

        def found() -> list[float]:
            return [at for at, row in list(self.rows) if at >= since and wanted(row)]

        said = "\n".join(self._said[-20:])
        wait_until(found, f"`dora {' '.join(self._arguments)}` says it; it said {said}")
        return found()[0]

    def said(self, wanted: Callable[[Row], object], since: float) -> list[Row]:
        """What it has said so far."""
        return [row for at, row in list(self.rows) if at >= since and wanted(row)]

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.rows.append((time.monotonic(), json.loads(line)))
            else:
                self._said.append(line.rstrip())
