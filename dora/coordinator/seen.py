"""When machines answered this laptop last: what `unknown since` means. Laptop only.

Nothing depends on it: another laptop knows other times, or none.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.inventory import Machine


class Seen:
    """A file of times in seconds since the epoch; a damaged one is begun anew."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Seen in {self._file}>"

    def last(self, machine: Machine) -> float | None:
        """None if it never did."""
        return self._read().get(_key(machine))

    def note(self, machines: Iterable[Machine]) -> None:
        """These answer now. What cannot be written is not known later."""
        now = self._clock()
        times = {**self._read(), **{_key(machine): now for machine in machines}}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".seen-", dir=self._file.parent)
            with open(handle, "w", encoding="utf-8") as out:
                json.dump(times, out)
            os.replace(name, self._file)
        except OSError:
            return

    def _read(self) -> dict[str, float]:
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(key): float(value) for key, value in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # never written, or damaged


def _key(machine: Machine) -> str:
    """Not its name in one inventory, but where it is."""
    place = (machine.host, machine.port, machine.user)
    return json.dumps([machine.id if machine.embedded else None, *place])
