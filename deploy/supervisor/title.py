"""What `ps` shows of a process that became another one without exec. Machine; Python >= 3.8."""

from __future__ import annotations

import os
from typing import Sequence


def show(argv: Sequence[str]) -> bool:
    """Puts it where the kernel reads this process's command line from; whether that was possible,
    and there was room for it."""
    text = b"\0".join(os.fsencode(word) for word in argv) + b"\0"
    try:
        with open("/proc/self/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end of proc(5)
        if len(text) > end - start:
            return False
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            return memory.write(text.ljust(end - start, b"\0")) == end - start
    except (OSError, ValueError, IndexError):
        return False
