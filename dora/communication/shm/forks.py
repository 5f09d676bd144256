"""What becomes of shared memory in a forked child: it is the parent's. Node (>= 3.10)."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Abandonable(Protocol):
    def abandon(self) -> None:
        """Called in the child: closes what keeps connections open, and touches nothing shared."""


_shared: weakref.WeakSet[Abandonable] = weakref.WeakSet()


def abandon_in_children(item: Abandonable) -> None:
    """Calls `item.abandon()` in every child that is forked while `item` lives."""
    _shared.add(item)


def _abandon_all() -> None:
    for item in list(_shared):
        item.abandon()


os.register_at_fork(after_in_child=_abandon_all)
