"""Whether a process is started again when it fails, as it tells others. Nodes, routers (>= 3.10).

A moment of the monotonic clock, in nanoseconds, which all processes of a machine share: who fails
from then on comes back. Who keeps the process running knows (`DEPLOY_RETURNS`): one whose restarts
are used up comes back only if it has lived for long enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

RETURNS = "DEPLOY_RETURNS"  # `never`, or the seconds that this process must live to be restarted

ALWAYS = 0
NEVER = -1


def comeback(restart: str, started: int, environ: Mapping[str, str] = os.environ) -> int:
    """From when on a process that started at `started` comes back. `restart`: its policy."""
    if restart == "never":
        return NEVER
    text = environ.get(RETURNS, "")
    if text == "never":
        return NEVER
    try:
        seconds = float(text)
    except ValueError:
        return ALWAYS  # nobody has counted
    return started + round(seconds * 1e9) if 0 < seconds < 1e9 else ALWAYS


def comes_back(returns: int, now: int | None = None) -> bool:
    """Whether a process that fails now (monotonic ns) does."""
    return 0 <= returns <= (time.monotonic_ns() if now is None else now)
