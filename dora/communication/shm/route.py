"""What the publishers of one route share. Node (>= 3.10)."""

from __future__ import annotations

from dora.communication.shm.sender import Subscriber


class Route:
    """What the publishers of one route share. `subscribers` is replaced, never changed."""

    __slots__ = ("finished", "name", "published", "refused", "subscribers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.subscribers: tuple[Subscriber, ...] = ()
        self.published = False
        self.finished = False
        self.refused = 0  # messages for which the pool had no room
