"""What is looked at from time to time: memory, CPU, logs. Machine only; Python >= 3.8."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional

from deploy.supervisor.cgroups import Groups
from deploy.supervisor.key import Key
from deploy.supervisor.logkeeper import LogKeeper
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.supervisor.usage import Excess, Meter, Watched, oom_kills, read_groups, shared_once

log = logging.getLogger(__name__)

SECOND = 1.0  # between rounds
UNHURRIED = 5  # rounds between looks at units that have no limit: each look reads all of /proc
STALE = 1.0  # seconds after which who asks for figures gets new ones


class Rounds:
    """`slots` are all units there are; `on_excess` hears of those that use too much memory."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: Mapping[Key, Slot],
        groups: Optional[Groups],
        keeper: Optional[LogKeeper],
        on_excess: Callable[[Excess], None],
        clock: Callable[[], float],
        *,
        kills: Callable[[], int] = oom_kills,
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._groups = groups
        self._keeper = keeper
        self._on_excess = on_excess
        self._clock = clock
        self._kills = kills
        self._killed = kills()
        self._meter = Meter(read_groups, shared_once)
        self._looked = clock()
        self._round = 0
        self._timer = loop.call_later(SECOND, self._go)

    def close(self) -> None:
        self._timer.cancel()

    def figures(self, key: Key) -> Dict[str, Any]:
        """`rss`, `cpu`, `cpu_seconds`, `memory_peak` of a unit's record; null where they are not
        known."""
        slot = self._slots.get(key)
        usage = self._meter.usage(key, slot.pid) if slot is not None and slot.pid else None
        if usage is None:
            return dict.fromkeys(("rss", "cpu", "cpu_seconds", "memory_peak"))
        peak = self._groups.peak(key) if self._groups is not None else None
        cpu = None if usage.cpu is None else round(usage.cpu, 3)
        return {
            "rss": usage.rss,
            "cpu": cpu,
            "cpu_seconds": round(usage.seconds, 2),
            "memory_peak": max(usage.peak, peak or 0),
        }

    def refresh(self) -> None:
        """Looks again, if the last look was long ago."""
        if self._clock() - self._looked >= STALE:
            self._look()

    def explain(self, key: Key, exit: Exit) -> Exit:
        """With the reason, if the kernel killed the unit for want of memory."""
        slot = self._slots[key]
        if exit.signal != "SIGKILL" or slot.step is not None or slot.actual is None:
            return exit
        if self._groups is not None and self._groups.known(key):
            reason = self._groups.killed(key)
            if reason == "memory":
                used = self._groups.peak(key)
                return replace(exit, reason=reason, used=used, limit=slot.actual.memory)
            if reason is not None:
                return replace(exit, reason=reason)
        if self._kills() > self._killed:
            return replace(exit, reason="oom")
        return exit

    def _go(self) -> None:
        self._timer = self._loop.call_later(SECOND, self._go)
        self._round += 1
        self._tend_logs()
        limited = any(slot.actual.memory for slot in self._slots.values() if slot.actual)
        if limited or self._round % UNHURRIED == 0:
            self._look()

    def _tend_logs(self) -> None:
        if self._keeper is None:
            return
        for key, slot in self._slots.items():
            if slot.pid is not None and slot.actual is not None:
                self._keeper.tend(key, slot.actual, time.time())

    def _look(self) -> None:
        now = self._looked = self._clock()
        self._killed = self._kills()
        running = {}
        for key, slot in self._slots.items():
            if slot.pid is not None:
                limit = 0 if slot.actual is None or slot.step is not None else slot.actual.memory
                running[key] = Watched(slot.pid, limit)
        if self._groups is not None:
            self._groups.sweep()
        for excess in [*self._kept_by_kernel(running), *self._meter.look(running, now)]:
            self._on_excess(excess)

    def _kept_by_kernel(self, running: Dict[Key, Watched]) -> List[Excess]:
        """The kernel kills one process of a group, which need not be the unit's first: then the
        rest of it has to go as well. Takes the limits of units in groups out of `running`."""
        found = []
        for key, watched in list(running.items()):
            if self._groups is None or not watched.limit or not self._groups.has(key, watched.pid):
                continue
            running[key] = watched._replace(limit=0)
            if self._groups.killed(key) == "memory":
                used = self._groups.peak(key) or watched.limit
                found.append(Excess(key, used, watched.limit))
        return found
