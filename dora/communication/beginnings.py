"""What reliable senders sent before the first message of theirs that came. Node (>= 3.10). Pure.

A reader that starts asks zenoh for what senders keep. Where a sender is found only then, because
routers are still finding each other, its next message may come first, and zenoh then takes all
before it for old. So what is missing is asked for once more, and messages wait for that.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

MOST_SENDERS = 16  # of one route; there is one, and those of its past


class Beginnings(Generic[T]):
    """One route's senders, whose messages are numbered from 1. Not thread-safe."""

    def __init__(self) -> None:
        self._begun: dict[int, None] = {}
        self._waiting: dict[int, dict[int, T]] = {}

    def __repr__(self) -> str:
        return f"<Beginnings of {len(self._begun)} senders, {len(self._waiting)} asked>"

    def arrived(self, sender: int, number: int, item: T) -> tuple[list[T], bool]:
        """What is to be handed out now, and whether to ask the sender for what was before; if
        so, `answered` must follow. A sender of 0 does not count its messages."""
        if sender in self._waiting:
            self._waiting[sender].setdefault(number, item)
            return [], False
        if not sender or sender in self._begun:
            return [item], False
        if number <= 1:
            self._begin(sender)
            return [item], False
        self._waiting[sender] = {number: item}
        return [], True

    def told_again(self, sender: int, number: int, item: T) -> None:
        """A message came as an answer."""
        if sender in self._waiting:
            self._waiting[sender].setdefault(number, item)

    def answered(self, sender: int) -> list[T]:
        """No answer will come any more: what is to be handed out, in order."""
        waiting = self._waiting.pop(sender, {})
        self._begin(sender)
        return [waiting[number] for number in sorted(waiting)]

    def _begin(self, sender: int) -> None:
        if len(self._begun) >= MOST_SENDERS:
            del self._begun[next(iter(self._begun))]
        self._begun[sender] = None
