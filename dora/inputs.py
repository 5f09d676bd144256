"""Which inputs of a node are open, whose turn it is, and when the stream ends. Pure (>= 3.10)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum


class State(Enum):
    OPEN = "open"
    SILENT = "silent"  # for longer than its timeout; may come back
    CLOSED = "closed"  # by its producer


class Inputs:
    """`closable`: inputs that end with their producer. `endless`: timers, which never do.

    With `ignore_endless` a node ends when its closable inputs have, if it has any. `timeouts`:
    seconds without a message until an input counts as silent. `now`: any clock in seconds.
    """

    def __init__(
        self,
        closable: Iterable[str],
        endless: Iterable[str],
        timeouts: Mapping[str, float],
        now: float,
        *,
        ignore_endless: bool = False,
    ) -> None:
        self._states = dict.fromkeys(closable, State.OPEN)
        # In order of service, least recently served first.
        self._order = dict.fromkeys([*self._states, *endless])
        self._may_end = bool(self._states) and (
            ignore_endless or len(self._order) == len(self._states)
        )
        self._timeouts = dict(timeouts)
        self._heard = dict.fromkeys(self._timeouts, now)

    def __repr__(self) -> str:
        return f"<Inputs { ({name: state.value for name, state in self._states.items()}) }>"

    def turns(self, ready: Collection[str]) -> list[str]:
        """`ready` in the order in which they should be served: least recently served first."""
        if len(ready) == 1:
            return list(ready)
        return [name for name in self._order if name in ready]

    def served(self, name: str) -> None:
        """`name` gave an event; the others come before it now."""
        del self._order[name]
        self._order[name] = None

    def heard(self, name: str, now: float) -> bool:
        """A message came. True if the input was silent or closed and is open again."""
        if name in self._heard:
            self._heard[name] = now
        if self._states[name] is State.OPEN:
            return False
        self._states[name] = State.OPEN
        return True

    def close(self, name: str) -> bool:
        """The producer said that it was the last message. True if that is news to the node."""
        before, self._states[name] = self._states[name], State.CLOSED
        return before is State.OPEN

    def expire(self, now: float) -> list[str]:
        """The inputs that have just become silent."""
        silent = [
            name
            for name, seconds in self._timeouts.items()
            if self._states[name] is State.OPEN and now >= self._heard[name] + seconds
        ]
        for name in silent:
            self._states[name] = State.SILENT
        return silent

    def deadline(self) -> float | None:
        """When the next input becomes silent if nothing comes."""
        return min(
            (
                self._heard[name] + seconds
                for name, seconds in self._timeouts.items()
                if self._states[name] is State.OPEN
            ),
            default=None,
        )

    def is_closed(self, name: str) -> bool:
        """Whether its producer has ended. Never so for a timer."""
        return self._states.get(name) is State.CLOSED

    @property
    def all_closed(self) -> bool:
        """Whether no message can come any more. Never so without inputs, or with a timer."""
        return self._may_end and all(state is State.CLOSED for state in self._states.values())
