"""New ids that sort by the time of their making. Node and laptop (>= 3.10)."""

from __future__ import annotations

import os
import time


def uuid7() -> str:
    """A UUID of version 7: 48 bits of milliseconds since the epoch, the rest random."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
