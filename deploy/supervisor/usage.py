"""What units use of memory and CPU, and which use too much. Machine only; Python >= 3.8.

`Meter` decides, from what it is given; `read_groups` and the functions after it read /proc.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from deploy.supervisor.key import Key

SHORTEST = 0.5  # seconds over which a share of a core says something


class Reading(NamedTuple):
    """Of a process group: bytes in memory, seconds of CPU so far, its processes."""

    rss: int
    cpu: float
    pids: Tuple[int, ...] = ()


class Watched(NamedTuple):
    """A unit that runs. `limit` in bytes; 0: none, or the kernel keeps it."""

    pid: int
    limit: int = 0


class Usage(NamedTuple):
    """`cpu` is a share of one core since the look before; None at the first look. `seconds` of CPU
    are those since the process started."""

    rss: int
    cpu: Optional[float]
    peak: int  # the highest `rss` of all looks
    seconds: float = 0.0


class Excess(NamedTuple):
    key: Key
    used: int
    limit: int


@dataclass
class _Last:
    pid: int
    time: float
    cpu: float
    usage: Usage


Read = Callable[[Collection[int]], Mapping[int, Reading]]
Exact = Callable[[Iterable[int]], Optional[int]]


class Meter:
    """Looks at units. Processes of a group that share pages count them once each in `rss`; before a
    unit is said to use too much, `exact` counts them once in all."""

    def __init__(self, read: Read, exact: Exact) -> None:
        self._read = read
        self._exact = exact
        self._last: Dict[Key, _Last] = {}

    def look(self, running: Mapping[Key, Watched], now: float) -> List[Excess]:
        """Which of the units that run use more than they may. `now` in monotonic seconds."""
        readings = self._read({watched.pid for watched in running.values()})
        self._last = {key: last for key, last in self._last.items() if key in running}
        found = []
        for key, watched in running.items():
            reading = readings.get(watched.pid)
            if reading is None:
                continue  # it has ended; somebody else is about to hear of it
            self._note(key, watched.pid, reading, now)
            if watched.limit and reading.rss > watched.limit:
                exact = self._exact(reading.pids)
                used = reading.rss if exact is None else exact
                if used > watched.limit:
                    found.append(Excess(key, used, watched.limit))
        return found

    def usage(self, key: Key, pid: Optional[int]) -> Optional[Usage]:
        """What the unit's process `pid` used at the last look; None if there was none."""
        last = self._last.get(key)
        return last.usage if last is not None and last.pid == pid else None

    def _note(self, key: Key, pid: int, reading: Reading, now: float) -> None:
        last = self._last.get(key)
        if last is None or last.pid != pid:
            self._last[key] = _Last(pid, now, reading.cpu, _first(reading))
            return
        peak = max(last.usage.peak, reading.rss)
        passed = now - last.time
        if passed < SHORTEST:
            last.usage = last.usage._replace(rss=reading.rss, peak=peak)
            return
        # less than before: a child ended and nobody waited for it, which loses what it had used
        share = max(0.0, reading.cpu - last.cpu) / passed
        seconds = max(reading.cpu, last.usage.seconds)
        last.usage = Usage(reading.rss, share, peak, seconds)
        last.time, last.cpu = now, reading.cpu


def _first(reading: Reading) -> Usage:
    return Usage(reading.rss, None, reading.rss, reading.cpu)


def read_groups(groups: Collection[int], proc: Path = Path("/proc")) -> Dict[int, Reading]:
    """The readings of these process groups, as far as there are processes of them."""
    found: Dict[int, Reading] = {}
    if not groups:
        return found
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    for name in os.listdir(str(proc)):
        if not name.isdigit():
            continue
        try:
            with open(f"{proc}/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # ended meanwhile
        group = int(fields[2])
        if group not in groups:
            continue
        rss, cpu, pids = found.get(group, Reading(0, 0.0))
        # with what children used that have ended: utime, stime, cutime, cstime
        ticks = sum(int(field) for field in fields[11:15])
        found[group] = Reading(rss + int(fields[21]) * page, cpu + ticks / tick, (*pids, int(name)))
    return found


def shared_once(pids: Iterable[int]) -> Optional[int]:
    """The bytes that these processes have in memory, with what several share counted by shares;
    None if the kernel does not tell."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except FileNotFoundError:
            if Path(f"/proc/{pid}").exists():
                return None
            continue
        except OSError:
            return None
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def oom_kills() -> int:
    """How often the kernel has killed for want of memory, on the whole machine since it booted."""
    try:
        text = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
