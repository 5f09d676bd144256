"""Where machines' supervisors listened last, so that they can be asked at once. Laptop only.

Without it a program has to be started on the machine to find out, which takes longer than all that
is asked then. Nothing depends on it: it may be lost, be another laptop's, or be wrong.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.facts import Facts
from deploy.inventory import Machine


@dataclass(frozen=True)
class Whereabouts:
    """`socket` is a path on the machine, `python` what ran the agent there."""

    socket: str
    python: str


class Known:
    """A file of whereabouts; a damaged one is begun anew. Written when something has changed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: dict[str, list[str]] | None = None
        self._changed = False

    def __repr__(self) -> str:
        return f"<Known in {self._file}>"

    def of(self, machine: Machine) -> Whereabouts | None:
        row = self._read().get(_key(machine))
        return None if row is None else Whereabouts(*row)

    def note(self, machine: Machine, facts: Facts) -> None:
        """Only a socket below the store's root counts: into another folder anybody might have put
        one since, and nobody would look who did."""
        row = [f"{facts.run}/supervisor.sock", facts.python]
        rows, key = self._read(), _key(machine)
        if facts.supervisor.get("running") and facts.run.startswith(facts.root + "/"):
            self._changed |= rows.get(key) != row
            rows[key] = row
        else:
            self._changed |= rows.pop(key, None) is not None

    def save(self) -> None:
        """What cannot be written is found out again the next time."""
        if not self._changed or self._rows is None:
            return
        self._changed = False
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".machines-", dir=self._file.parent)
            with open(handle, "w", encoding="utf-8") as out:
                json.dump(self._rows, out)
            os.replace(name, self._file)
        except OSError:
            return

    def _read(self) -> dict[str, list[str]]:
        if self._rows is None:
            self._rows = {}
            try:
                data = json.loads(self._file.read_text(encoding="utf-8"))
                self._rows = {
                    str(key): [str(row[0]), str(row[1])]
                    for key, row in data.items()
                    if isinstance(row, list) and len(row) == 2
                }
            except (OSError, ValueError, AttributeError):
                pass  # never written, or damaged
        return self._rows


def _key(machine: Machine) -> str:
    place = (machine.host, machine.port, machine.user, machine.store, machine.agent_python)
    return json.dumps([machine.id if machine.embedded else None, *place])
