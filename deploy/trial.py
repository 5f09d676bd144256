"""The times of a generation on trial, as the laptop plans them. Pure; laptop only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.plan import Plan

WINDOW = 3.0  # seconds for which all units have to stay up, unless told otherwise
SPARE = 30.0  # seconds for stopping what ran before, and for confirming
RETURN = 5.0  # seconds of the trial for going back while the machine still waits for our word


def trial_time(plan: Plan, window: float) -> float:
    """Seconds that the trial of what is planned needs at most: the longest start-up time, the
    window in which units have to stay up, and some more."""
    profiles = [row.wanted for row in plan.machines if row.wanted is not None]
    longest = max((unit.start_timeout for it in profiles for unit in it.units), default=0.0)
    return SPARE + window + longest


def proving_time(timeout: float) -> float:
    """Seconds of a trial of `timeout` in which units can prove themselves."""
    return timeout - min(RETURN, timeout / 4)
