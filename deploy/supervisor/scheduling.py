"""How the kernel schedules units: asking for it, and reading it back. Machine only; >= 3.8."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from deploy.unit import SHARED, Realtime, Unit

CAP_SYS_NICE = 23
POLICIES = {
    os.SCHED_OTHER: "other",
    os.SCHED_BATCH: "batch",
    os.SCHED_IDLE: "idle",
    os.SCHED_FIFO: "fifo",
    os.SCHED_RR: "rr",
}


class Allowed(NamedTuple):
    """The highest real-time priority (0: none) and the lowest nice value that units may have."""

    realtime: int
    nice: int


def allowed() -> Allowed:
    """What this machine lets our processes have.

    A right on paper is tried on a process that sleeps: kernels with real-time groups may refuse
    all of it. Takes some milliseconds.
    """
    free = _capable(CAP_SYS_NICE)
    realtime = 99 if free else min(99, _limit(resource.RLIMIT_RTPRIO, 99))
    nice = -20 if free else min(0, max(-20, 20 - _limit(resource.RLIMIT_NICE, 40)))
    if realtime and not _works():
        realtime = 0
    return Allowed(realtime, nice)


def prefix(unit: Unit, may: Allowed, path: str) -> List[str]:
    """What stands before the unit's command so that it is scheduled as it asks for, as far as this
    machine allows it. `shortfall` tells of the rest. `path` is where programs are looked for."""
    argv: List[str] = []
    nice, chrt = (shutil.which(it, path=path) for it in ("nice", "chrt"))
    if unit.nice and nice is not None and unit.nice >= may.nice:
        argv += [nice, "-n", str(unit.nice)]
    realtime = unit.realtime
    if realtime is not None and chrt is not None and realtime.priority <= may.realtime:
        argv += [chrt, f"--{realtime.policy}", str(realtime.priority)]
    return argv


def scheduling_of(pid: int) -> Optional[Dict[str, Any]]:
    """{policy, priority, nice} of a process, as the kernel says; None when it has gone."""
    try:
        # the kernel tells by a bit whether children start without it
        policy = os.sched_getscheduler(pid) & ~getattr(os, "SCHED_RESET_ON_FORK", 0)
        return {
            "policy": POLICIES.get(policy, str(policy)),
            "priority": os.sched_getparam(pid).sched_priority,
            "nice": os.getpriority(os.PRIO_PROCESS, pid),
        }
    except OSError:
        return None


def shortfall(
    unit: Unit, cores: Sequence[int], scheduling: Optional[Dict[str, Any]]
) -> Optional[str]:
    """How a unit runs otherwise than it asks for, by what was read back; None if it does not."""
    found = []
    if unit.pin != SHARED and cores and set(cores) != set(unit.cores):
        found.append(f"runs on cores {_numbers(cores)}, not on {_numbers(unit.cores)}")
    if scheduling is not None:
        policy, priority = scheduling["policy"], scheduling["priority"]
        wanted = unit.realtime
        if wanted is not None and Realtime(policy, priority) != wanted:
            has = f"{policy} {priority}" if priority else policy
            found.append(f"is scheduled as {has}, not as {wanted.policy} {wanted.priority}")
        if unit.nice and wanted is None and scheduling["nice"] != unit.nice:
            found.append(f"has nice {scheduling['nice']}, not {unit.nice}")
    return "; ".join(found) or None


def _numbers(cores: Sequence[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def _limit(which: int, unlimited: int) -> int:
    soft = resource.getrlimit(which)[0]
    return unlimited if soft == resource.RLIM_INFINITY else soft


def _capable(capability: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _works() -> bool:
    """Whether a process of ours can be given the lowest real-time priority."""
    try:
        sleeper = subprocess.Popen(
            ["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    except OSError:
        return False
    try:
        os.sched_setscheduler(sleeper.pid, os.SCHED_FIFO, os.sched_param(1))
        return True
    except OSError:
        return False
    finally:
        sleeper.kill()
        sleeper.wait()
