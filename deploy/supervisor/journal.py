"""What runs, on disk, so that a supervisor can take over from a dead one. Machine only; >= 3.8.

The journal is a note, the processes are the truth: a process counts only while its pid and start
time match, and a unit's process that the journal misses is found by its environment.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from deploy.supervisor import files
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.proc import boot_id, start_time, user_of
from deploy.supervisor.slot import Slot, State
from deploy.unit import Unit

log = logging.getLogger(__name__)

TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True)
class Orphan:
    """A process found in /proc whose environment says that it is a unit of this root."""

    key: Key
    pid: int
    start: int
    fingerprint: str
    restarts: int


class Journal:
    def __init__(self, layout: Layout, boot: Optional[str] = None) -> None:
        self.path = layout.journal
        self.boot = boot_id() if boot is None else boot

    def write(self, slots: Iterable[Slot]) -> None:
        """Raises OSError. Survives our death; need not survive a power cut, as nothing would."""
        data = {"boot_id": self.boot, "units": [slot.to_json() for slot in slots]}
        files.write(self.path, json.dumps(data).encode(), durable=False)

    def read(self) -> List[Slot]:
        """What was noted since this boot; [] after a reboot or without a readable journal."""
        try:
            data = json.loads(self.path.read_bytes())
            if data["boot_id"] != self.boot:
                return []
            return [Slot.from_json(entry) for entry in data["units"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("%s cannot be read, what runs is looked for: %s", self.path, error)
            return []

    def remove(self) -> None:
        try:
            self.path.unlink()
        except FileNotFoundError:
            pass


def takeover(
    noted: Iterable[Slot], orphans: Iterable[Orphan], wanted: Dict[Key, Unit], now: float
) -> List[Slot]:
    """The slots to begin with: what was noted, corrected by what is found running.

    A process that was noted but has gone keeps its pid here; watching it tells at once.
    """
    slots = {slot.key: slot for slot in noted}
    for orphan in orphans:
        slot = slots.get(orphan.key)
        if slot is not None and (slot.pid, slot.start) == (orphan.pid, orphan.start):
            continue
        if slot is not None and slot.pid is not None and start_time(slot.pid) == slot.start:
            continue  # a child of the unit that made itself a session; the unit ends it, not we
        # The clock of starts also counts the time asleep, so that none seems older than it is.
        if slot is not None and slot.pid is None and orphan.start / TICKS < slot.since:
            continue  # such a child, again: the unit itself has ended since it was started
        unit = wanted.get(orphan.key)
        if unit is None or unit.fingerprint != orphan.fingerprint:
            # what it was started as is not known any more: stop it the default way
            unit = Unit(name=orphan.key.unit, argv=("?",), cwd="/")
        ready = unit.readiness != "notify"
        slots[orphan.key] = Slot(
            key=orphan.key,
            since=now,
            state=State.RUNNING if ready else State.STARTING,
            actual=unit,
            pid=orphan.pid,
            start=orphan.start,
            born=now,
            window=now,
            ready=ready,
            restarts=orphan.restarts,
        )
    return list(slots.values())


def find_orphans(layout: Layout) -> List[Orphan]:
    """Session leaders of ours that carry this root's DEPLOY_CONTROL in their environment.

    Ours are those that our user started, as others may put into theirs what they like, and root can
    read it; also in that of a program which makes itself root (`sudo`).
    """
    found: List[Orphan] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        pid = int(name)
        try:
            if os.getsid(pid) != pid:
                continue
            environ = Path(f"/proc/{name}/environ").read_bytes()
            if b"DEPLOY_CONTROL=" not in environ or user_of(pid) != os.getuid():
                continue
        except OSError:
            continue  # ended meanwhile, or not ours to read
        values = dict(_pair(entry) for entry in environ.split(b"\0") if b"=" in entry)
        control = values.get("DEPLOY_CONTROL", "")
        unit = values.get("DEPLOY_UNIT", "")
        deployment = os.path.basename(os.path.dirname(control))
        start = start_time(pid)
        if not unit or start is None or control != str(layout.control(deployment, unit)):
            continue
        restarts = values.get("DEPLOY_RESTARTS", "")
        found.append(
            Orphan(
                key=Key(deployment, unit),
                pid=pid,
                start=start,
                fingerprint=values.get("DEPLOY_FINGERPRINT", ""),
                restarts=int(restarts) if restarts.isdigit() else 0,
            )
        )
    return found


def _pair(entry: bytes) -> Tuple[str, str]:
    name, _, value = entry.partition(b"=")
    return os.fsdecode(name), os.fsdecode(value)
