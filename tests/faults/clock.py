"""Sets the wall clock of one robot of the bench, and of nobody else.

All robots have this machine's kernel, whose clock stays as it is: a small library that the robot's
/etc/ld.so.preload loads into all its processes (sshd, supervisor, router, nodes) moves their
realtime clock. Times that the kernel itself writes, such as those of files, do not move.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from tests.lan.bench import Lan

SOURCE = Path(__file__).with_name("clock.c")
LIBRARY, OFFSET = "/opt/clock.so", "/opt/clock.offset"


class Clock:
    """Of a robot that is started anew with it."""

    def __init__(self, lan: Lan, robot: int) -> None:
        lan.power_off(robot)
        compile_ = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
        target = lan.path(robot, LIBRARY)
        subprocess.run(
            [*compile_, f'-DOFFSET="{OFFSET}"', SOURCE, "-o", target, "-ldl"], check=True
        )
        target.chmod(0o755)
        self._file = lan.path(robot, OFFSET)
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        self._file.chmod(0o644)
        lan.path(robot, "/etc/ld.so.preload").write_text(f"{LIBRARY}\n")
        lan.power_on(robot)

    def ahead(self, seconds: int) -> None:
        """Of the true time; from now on."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), mmap.PAGESIZE) as page:
            page[:8] = struct.pack("q", seconds)
