"""What the publishers of one route share. Node (>= 3.10)."""

from __future__ import annotations

from dora.communication.shm.group import Group
from dora.communication.shm.sender import Subscriber


class Route:
    """`subscribers` get every message, and are replaced, never changed. Where there are replicas
    that share, too (`groups`), it is empty and those are `others`: the short ways know nothing of
    groups, and ask nobody."""

    __slots__ = ("finished", "groups", "name", "others", "published", "refused", "subscribers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.subscribers: tuple[Subscriber, ...] = ()
        self.others: tuple[Subscriber, ...] = ()
        self.groups: tuple[Group, ...] = ()
        self.published = False
        self.finished = False
        self.refused = 0  # messages for which the pool had no room

    @property
    def everybody(self) -> tuple[Subscriber, ...]:
        """All subscribers, those of groups, too."""
        return (
            *self.subscribers,
            *self.others,
            *(it for group in self.groups for it in group.lanes),
        )

    def add(self, subscriber: Subscriber) -> None:
        if not subscriber.group:
            self._rearrange((*self.subscribers, *self.others, subscriber))
            return
        group = next((it for it in self.groups if it.name == subscriber.group), None)
        if group is None:
            group = Group(subscriber.group, subscriber.key)
            self.groups = (*self.groups, group)
        self._rearrange((*self.subscribers, *self.others))
        group.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        plain = (*self.subscribers, *self.others)
        self._rearrange(tuple(it for it in plain if it is not subscriber))
        for group in self.groups:
            group.remove(subscriber)

    def clear(self) -> None:
        """Nobody gets anything any more."""
        self.subscribers = self.others = ()
        self.groups = ()

    def _rearrange(self, plain: tuple[Subscriber, ...]) -> None:
        self.subscribers, self.others = ((), plain) if self.groups else (plain, ())
