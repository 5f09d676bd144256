"""Until when units with a lease may run. Pure; machine only; Python >= 3.8.

A unit with a lease may be started on another machine when nobody hears of this one any more. So
it runs here only while this machine has been heard of: what counts is when the machine said the
last word that somebody has answered, not when the answer came. An answer that was held up on the
way is worth no more than the word that it answers.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from deploy.supervisor.slot import Slot

OVER = "its lease is over: it runs again when that is renewed"

# Seconds: who has no lease any more has little time to leave, as another may be about to start.
TERM_AFTER, KILL_AFTER = 2.0, 1.0


class Leases:
    """Of all deployments; seconds of the clock by which units are run."""

    def __init__(self) -> None:
        self._heard: Dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Leases {self._heard}>"

    @property
    def heard(self) -> Mapping[str, float]:
        """Deployment -> when the word was said that was answered last."""
        return self._heard

    def renew(self, deployment: str, heard: float) -> None:
        """Answers may overtake each other: only a later word counts."""
        self._heard[deployment] = max(heard, self._heard.get(deployment, heard))

    def slept(self, seconds: float) -> None:
        """The clock stood still for so long, and time did not."""
        self._heard = {name: heard - seconds for name, heard in self._heard.items()}

    def end(self, slot: Slot) -> Optional[float]:
        """When the lease of what is wanted there is over, maybe long ago; None if it needs none."""
        if slot.wanted is None or not slot.wanted.lease:
            return None
        return self._heard.get(slot.key.deployment, float("-inf")) + slot.wanted.lease
