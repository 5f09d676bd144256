"""From counts at two moments to rates. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dora.protocol.traffic import Traffic


@dataclass(frozen=True)
class Rates:
    """Messages a second of one process."""

    received: float
    sent: float
    dropped: float


def rates(before: Traffic, now: Traffic, seconds: float) -> Rates | None:
    """None where counts do not belong to one process, or no time has passed."""
    found = [per_second(before, now, name, seconds) for name in ("received", "sent", "dropped")]
    received, sent, dropped = found
    if received is None or sent is None or dropped is None:
        return None
    return Rates(round(received, 2), round(sent, 2), round(dropped, 2))


def per_second(before: object, now: object, field: str, seconds: float) -> float | None:
    """How much the count `field` grew in a second; None if one of the two is missing."""
    if before is None or now is None or seconds <= 0:
        return None
    grown: int = getattr(now, field) - getattr(before, field)
    return grown / seconds if grown >= 0 else None


def busy(
    before: Traffic, now: Traffic, seconds: float, groups: Collection[str] = ()
) -> dict[str, float]:
    """Operator -> the share of its time that it has spent in calls, of those of which both tell.
    `groups` stand for replicas and are never called themselves."""
    if seconds <= 0:
        return {}
    found = {}
    for name, operator in now.operators.items():
        past = before.operators.get(name)
        if past is None or name in groups:
            continue
        grown = operator.run_time - past.run_time
        if grown >= 0:  # else it was started anew
            found[name] = round(grown / 1e6 / seconds, 3)
    return found
