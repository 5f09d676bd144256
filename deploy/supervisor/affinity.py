"""Keeps running units off the cores that others are pinned to. Machine only; Python >= 3.8.

What is decided is in `pinning`. Threads are moved while they run: nothing restarts because another
unit was pinned.
"""

from __future__ import annotations

import logging
import os
from typing import Collection, Dict, FrozenSet, Iterable, List, Mapping, Optional, Tuple

from deploy.supervisor.key import Key
from deploy.supervisor.pinning import cores_of, moved, pinned
from deploy.supervisor.slot import Slot, State
from deploy.unit import SHARED, Unit

log = logging.getLogger(__name__)


class Affinity:
    """`slots` are all units there are, of all deployments."""

    def __init__(self, slots: Mapping[Key, Slot]) -> None:
        self._slots = slots
        self._taken: Optional[FrozenSet[int]] = None
        self._given: Dict[int, FrozenSet[int]] = {}  # by process: what it was given last

    def cores(self, unit: Unit) -> Tuple[int, ...]:
        """Those that a unit is to be started on; () for wherever the kernel likes."""
        return cores_of(unit, self._pinned(), _here())

    def look(self) -> None:
        """Moves what runs, if other cores are pinned than at the last look."""
        taken = self._pinned()
        if taken == self._taken or (self._taken is None and not taken):
            self._taken = taken
            return
        self._taken = taken
        here = _here()
        wanted: Dict[int, FrozenSet[int]] = {}
        for slot in self._slots.values():
            if slot.pid is not None and slot.actual is not None and slot.actual.pin == SHARED:
                wanted[slot.pid] = frozenset(cores_of(slot.actual, taken, here)) or here
        self._move(wanted)

    def _pinned(self) -> FrozenSet[int]:
        return pinned(unit for slot in self._slots.values() for unit in _units(slot))

    def _move(self, wanted: Mapping[int, FrozenSet[int]]) -> None:
        self._given = {pid: cores for pid, cores in self._given.items() if pid in wanted}
        for _ in range(2):  # a thread that is made meanwhile has the mask of its maker
            members = _members(wanted)
            for pid, cores in wanted.items():
                masks = _masks(members.get(pid, ()))
                given = self._given.get(pid) or masks.get(pid, cores)
                for thread, mask in moved(masks, given, cores).items():
                    try:
                        os.sched_setaffinity(thread, mask)
                    except ProcessLookupError:
                        continue
                    except OSError as error:  # it is another user's by now, or confined further
                        log.warning("thread %d of %d cannot be moved: %s", thread, pid, error)
        self._given.update(wanted)


def _units(slot: Slot) -> Iterable[Unit]:
    """What of the slot runs, or is about to."""
    if slot.pid is not None and slot.actual is not None:
        yield slot.actual
    if slot.wanted is not None and slot.state not in (State.ENDED, State.FAILED):
        yield slot.wanted


def _here() -> FrozenSet[int]:
    """The cores that this machine lets us use."""
    return frozenset(os.sched_getaffinity(0))


def _members(groups: Collection[int]) -> Dict[int, List[int]]:
    """The threads of these process groups."""
    found: Dict[int, List[int]] = {}
    for name in os.listdir("/proc") if groups else ():
        if not name.isdigit():
            continue
        try:
            group = os.getpgid(int(name))
            if group in groups:
                threads = map(int, os.listdir(f"/proc/{name}/task"))
                found.setdefault(group, []).extend(threads)
        except OSError:
            continue  # ended meanwhile
    return found


def _masks(threads: Iterable[int]) -> Dict[int, FrozenSet[int]]:
    found = {}
    for thread in threads:
        try:
            found[thread] = frozenset(os.sched_getaffinity(thread))
        except OSError:
            continue
    return found
