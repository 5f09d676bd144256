"""How many channels a connection may have: sshd's MaxSessions, learned by running into it."""

from __future__ import annotations

import asyncio


class Sessions:
    """Counts channels, so that those that are one too many wait for their turn.

    sshd refuses a channel without saying why. Once it has, the limit is taken to be the most that
    it ever allowed at once. It may refuse below that, too: a session that we left counts until
    sshd has cleaned up behind it, or until its command ends.
    """

    def __init__(self) -> None:
        self.wanted = 0  # channels that are open or being opened
        self.open = 0
        self.most = 0
        self.limit: int | None = None
        self._left = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Sessions: {self.open} open, limit {self.limit or 'unknown'}>"

    async def enter(self) -> None:
        """Returns when there seems to be room for one more."""
        while self.limit is not None and self.wanted >= self.limit:
            event = self._left
            await event.wait()
        self.wanted += 1

    def opened(self) -> None:
        """The channel that was entered for came about."""
        self.open += 1
        self.most = max(self.most, self.open)
        if self.limit is not None:
            self.limit = max(self.limit, self.most)

    def refused(self) -> None:
        """sshd refused the channel that was entered for; call `leave` as well."""
        self.limit = max(1, self.most)

    def leave(self, was_open: bool) -> None:
        """A channel that was entered for is over, or did not come about."""
        self.wanted -= 1
        self.open -= was_open
        # Each wait has its own event, so that no waiter can eat another's wake-up.
        self._left.set()
        self._left = asyncio.Event()
