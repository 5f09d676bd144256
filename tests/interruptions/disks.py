"""Small disks in files, for robots that are to run out of space on a real filesystem."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interruptions.robot import DISK


@contextmanager
def ext4(image: Path) -> Iterator[Path]:
    """The block device of a new ext4 filesystem in the file `image`."""
    subprocess.run(["truncate", "--size", DISK, image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    attach = ["losetup", "--find", "--show", image]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
