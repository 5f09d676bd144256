"""A coordinator that stays, for stories."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

from tests.scenarios.fleet import Fleet


class Coordinator:
    """`dora coordinator` in the background, and all that it says."""

    def __init__(self, fleet: Fleet, flow: Path) -> None:
        self.process = fleet.start("coordinator", flow, "--window", "0.5", "--json")
        self.said: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(line.rstrip() for line in self.process.stdout)

    def says(self, what: str) -> bool:
        return any(what in line for line in list(self.said))

    def end(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)
        self.process.wait(100)
        self._reading.join(100)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def lines(self, node: str) -> list[str]:
        """What the node has printed."""
        rows: list[Any] = [json.loads(line) for line in list(self.said) if line.startswith("{")]
        return [row["line"] for row in rows if row.get("node") == node and "line" in row]
