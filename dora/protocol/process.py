"""A process's identity on its machine, for others on the same machine. Nodes, routers (>= 3.10)."""

from __future__ import annotations

import os
from pathlib import Path


def identity(pid: int | None = None) -> str:
    """`<pid>.<start time>`, which no later process with the same pid has.

    Raises OSError if there is no such process.
    """
    pid = os.getpid() if pid is None else pid
    return f"{pid}.{_stat(pid)[19]}"


def is_alive(process: str) -> bool:
    """Whether the process that `identity` named still runs (a zombie does not)."""
    pid, _, start = process.partition(".")
    if not pid.isascii() or not pid.isdigit():
        return False
    try:
        fields = _stat(int(pid))
    except OSError:
        return False
    return fields[19] == start and fields[0] not in ("Z", "X")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat behind the command, which may itself hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
