"""New ids that sort by the time of their making. Node and laptop (>= 3.10)."""

from __future__ import annotations

import secrets
import time
import uuid


def uuid7() -> str:
    """A UUID of version 7: 48 bits of milliseconds since the epoch, the rest random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
