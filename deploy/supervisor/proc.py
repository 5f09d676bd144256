"""What the kernel says of processes and cores. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional, Sequence


def online_cores() -> set[int]:
    """The numbers of the cores that this machine has switched on."""
    try:
        text = Path("/sys/devices/system/cpu/online").read_text()
    except OSError:
        return set(range(os.cpu_count() or 1))
    return parse_cores(text)


def parse_cores(text: str) -> set[int]:
    """`0-3,6` -> {0, 1, 2, 3, 6}"""
    cores = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cores |= set(range(int(first), int(last or first) + 1))
    return cores


def cores_of(pid: int) -> List[int]:
    """The cores that the process may use, as the kernel says; [] when it has gone."""
    try:
        return sorted(os.sched_getaffinity(pid))
    except OSError:
        return []


def _stat(pid: int) -> Optional[Sequence[str]]:
    """The fields of /proc/<pid>/stat from the third on (state, ppid, pgrp, session, ...)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> Optional[int]:
    """When the process started, in clock ticks since boot; None when there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def alive(pid: int, start: int) -> bool:
    """Whether the process with this identity is there and has not ended."""
    fields = _stat(pid)
    return bool(fields) and int(fields[19]) == start and fields[0] not in "ZX"  # type: ignore[index]


def is_child(pid: int) -> bool:
    """Whether we are its parent, so that its exit code can be had; also when it has ended."""
    fields = _stat(pid)
    return fields is not None and int(fields[1]) == os.getpid()


def user_of(pid: int) -> int:
    """Who started it, whatever it may do since: its real user id. Raises OSError."""
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
