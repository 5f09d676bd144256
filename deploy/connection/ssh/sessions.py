"""How many channels a connection may have: sshd's MaxSessions, learned by running into it."""

from __future__ import annotations

import asyncio


class Sessions:
    """Counts open channels. sshd refuses one too many without saying why, so the limit is taken
    to be what was open then, and later channels wait for their turn."""

    def __init__(self) -> None:
        self.open = 0
        self.limit: int | None = None
        self._left = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Sessions: {self.open} open, limit {self.limit or 'unknown'}>"

    @property
    def unsure(self) -> bool:
        """Whether a refusal now may be for the number of channels."""
        return self.limit is None and self.open > 0

    async def enter(self) -> None:
        """Returns when there is room for one more; it is then counted."""
        while self.limit is not None and self.open >= self.limit:
            event = self._left
            await event.wait()
        self.open += 1

    def leave(self) -> None:
        self.open -= 1
        self._left.set()
        self._left = asyncio.Event()

    def refused(self) -> bool:
        """Call after the refusal of a channel that was entered and left again. Whether it makes
        sense to enter again: others are open, and one of them will end."""
        if self.open == 0:
            return False
        self.limit = self.open if self.limit is None else min(self.limit, self.open)
        return True
