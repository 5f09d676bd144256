"""The order of what reliable senders send, with no gap that can be filled. Node (>= 3.10). Pure.

zenoh asks senders for what was missed, but gives up when its question or the answer is lost with a
link, and takes what was sent before the first message that came for old. So what is missing
then is asked for here, and newer messages wait for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dora.communication.header import NUMBERS

T = TypeVar("T")

MOST_SENDERS = 16  # of one route; there is one, and those of its past
TRIES = 12  # questions in a row that nobody answered, until what is missing is given up


@dataclass
class Step(Generic[T]):
    """What is to be done: hand out `ready`, then ask for all from the number `ask` on: also for
    what came, which shows that the sender itself has answered. After each question `answered`
    must follow. `lost` messages were given up."""

    ready: list[T] = field(default_factory=list)
    ask: int | None = None
    lost: int = 0


@dataclass
class _Sender(Generic[T]):
    last: int = 0  # handed out; 0: nothing yet
    came: int = 0  # the first that came behind the gap
    waiting: dict[int, T] = field(default_factory=dict)
    tries: int = 0
    news: bool = False  # something that was missing has come since the last question
    proof: bool = False  # and something that was not

    @property
    def first(self) -> int:
        return min(self.waiting)


class Order(Generic[T]):
    """One route's senders, whose messages are numbered from 1. Not thread-safe."""

    def __init__(self) -> None:
        self._senders: dict[int, _Sender[T]] = {}

    def __repr__(self) -> str:
        asked = sum(bool(it.waiting) for it in self._senders.values())
        return f"<Order of {len(self._senders)} senders, {asked} asked>"

    def arrived(self, sender: int, number: int, item: T) -> Step[T]:
        """A message came. A sender of 0 does not count its messages."""
        if not sender:
            return Step([item])
        state = self._sender(sender)
        if state.waiting:
            state.waiting.setdefault(number, item)
            return Step()
        ahead = (number - state.last) & NUMBERS
        if ahead == 0 or ahead > NUMBERS // 2:
            return Step()  # handed out already
        if ahead == 1:
            state.last = number
            return Step([item])
        state.waiting[number], state.came = item, number
        return Step(ask=state.last + 1)

    def told_again(self, sender: int, number: int, item: T) -> None:
        """A message came as an answer."""
        state = self._senders.get(sender)
        if state is None or not state.waiting or number <= state.last:
            return
        if number >= state.came:
            state.proof = True
        elif number not in state.waiting:
            state.news = True
        state.waiting.setdefault(number, item)

    def answered(self, sender: int) -> Step[T]:
        """No answer will come any more."""
        state = self._senders.get(sender)
        if state is None or not state.waiting:
            return Step()
        begins, proof, news = state.last == 0, state.proof, state.news
        state.tries = 0 if news else state.tries + 1
        state.news = state.proof = False
        step = Step[T]()
        if begins and (proof or news):
            # Answers begin with the oldest; what was before that is nothing that we missed.
            state.last = state.first - 1
        step.ready += self._next(state)
        if state.waiting and not proof and state.tries < TRIES:
            step.ask = state.last + 1
            return step
        while state.waiting:
            step.lost += 0 if begins else state.first - state.last - 1
            begins, state.last = False, state.first - 1
            step.ready += self._next(state)
        state.tries = 0
        return step

    def _next(self, state: _Sender[T]) -> list[T]:
        ready = []
        while state.last + 1 in state.waiting:
            state.last += 1
            ready.append(state.waiting.pop(state.last))
        return ready

    def _sender(self, sender: int) -> _Sender[T]:
        if sender not in self._senders:
            if len(self._senders) >= MOST_SENDERS:
                del self._senders[next(iter(self._senders))]
            self._senders[sender] = _Sender()
        return self._senders[sender]
