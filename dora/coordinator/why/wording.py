"""Times, rates and silences in words, for answers and evidence. Pure; laptop only."""

from __future__ import annotations

import time

from dora.coordinator.onlooker import UDP
from dora.coordinator.why.situation import Way

DAY = 86400.0  # s


def silence(way: Way) -> str:
    """Why nothing comes back over a way."""
    port = f"{way.protocol.upper()} port {way.port} of {way.target}"
    if way.reached.error == "refused":
        # By TCP a firewall may say so, where a program listens.
        return f"nothing listens on {port}" if way.protocol == UDP else f"{port} is refused"
    if way.reached.error == "timeout":
        return f"nothing comes back from {port}"
    return f"{way.source} has no way to {port} ({way.reached.text})"


def clock(epoch: float | None) -> str:
    """Of the laptop's time zone; with the date if it was more than a day ago."""
    if epoch is None:
        return "some time"
    if time.time() - epoch > DAY:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))
    return time.strftime("%H:%M:%S", time.localtime(epoch))


def number(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 or rate == int(rate) else f"{rate:.1f}"
