"""Counts messages that were lost on the way, by the numbers that senders give them. Node (>= 3.10).

Pure. A link that is cut or full drops messages without a word to anybody; the next that arrives
tells how many.
"""

from __future__ import annotations

from dora.communication.header import NUMBERS

MOST_SENDERS = 16  # of one route; there is one, and those of its past


class Gaps:
    """One route's senders. `lost` is how many of their messages did not come."""

    def __init__(self) -> None:
        self.lost = 0
        self._last: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Gaps: {self.lost} lost, of {len(self._last)} senders>"

    def arrived(self, sender: int, number: int) -> bool:
        """A message came; whether it is new. While routers find other ways, one may come twice, or
        later than one that was sent after it: then it counts as lost already. What a sender sent
        before its first that came was not for us; a sender of 0 does not count its messages."""
        if not sender:
            return True
        last = self._last.get(sender)
        if last is not None:
            ahead = (number - last) & NUMBERS
            if ahead == 0 or ahead > NUMBERS // 2:
                return False
            self.lost += ahead - 1
        elif len(self._last) >= MOST_SENDERS:
            del self._last[next(iter(self._last))]
        self._last[sender] = number
        return True
