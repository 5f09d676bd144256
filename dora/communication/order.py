"""The order of what reliable senders send, with no gap that can be filled. Node (>= 3.10). Pure.

A gap shows in the numbers of messages, or in what a sender says of its last one. What is missing is
asked for, a window at a time: a weak link is not flooded by answers, and one that breaks off loses
little. What came behind a gap waits for it. A gap is given up only when it cannot be filled any
more: the sender keeps its last `cache` messages, and these are older; it has answered, again and
again, without them; it has ended, or its successor is there; or it was silent for PATIENCE.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

PATIENCE = 300.0  # s without an answer, until what is missing is given up
TRIES = 6  # answers in a row that bring nothing of what is missing, until it is given up
PAUSE = 0.5  # s, before what brought nothing is asked again: the link may be coming back
WINDOW = 64  # messages that are asked for at first; less when answers break off, more when not
WIDEST = 1024
BYTES = 1 << 20  # of the messages that are asked for at once, by the size of those that came
PAST = 4  # senders of one group that are remembered; one of them is there


class Ask(NamedTuple):
    """A question for the messages numbered `first` to `last`, after so many seconds. It has to be
    followed by `answered`."""

    first: int
    last: int
    pause: float


@dataclass
class Step(Generic[T]):
    """What is to be done: hand out `ready`, then ask. `lost` messages were given up."""

    ready: list[T] = field(default_factory=list)
    ask: Ask | None = None
    lost: int = 0


@dataclass
class _Sender(Generic[T]):
    group: int
    last: int = 0  # handed out, or given up
    newest: int = 0  # that should have come
    said: int = 0  # its last one, as it says
    begun: bool = False  # something was handed out: what is missing from here on is lost
    waiting: dict[int, T] = field(default_factory=dict)  # came behind a gap
    asked: Ask | None = None
    window: int = WINDOW
    replies: int = 0  # since the last question
    size: int = 0  # bytes of them
    news: bool = False  # something that was missing was among them
    misses: int = 0
    silent: float | None = None  # since when nobody answers


class Order(Generic[T]):
    """One route's senders, whose messages are numbered from 1. Not thread-safe.

    Of the senders of one group (a replica of the route's node) a new one follows the others.
    """

    def __init__(self, cache: int) -> None:
        self._cache = cache
        self._senders: dict[str, _Sender[T]] = {}

    def __repr__(self) -> str:
        asked = sum(it.asked is not None for it in self._senders.values())
        return f"<Order of {len(self._senders)} senders, {asked} asked>"

    def __contains__(self, sender: str) -> bool:
        """Whether it is remembered."""
        return sender in self._senders

    def arrived(self, sender: str, number: int, item: T, group: int = 0) -> Step[T]:
        """A message came."""
        state, step = self._sender(sender, group)
        state.newest = max(state.newest, number)
        if number > state.last:
            state.waiting.setdefault(number, item)
            step.ready += _next(state)
        return self._go_on(state, step)

    def sent(self, sender: str, number: int, group: int = 0) -> Step[T]:
        """The sender said that its last message has that number. That message may be under way
        still, so it is not missed until the sender says so again."""
        state, step = self._sender(sender, group)
        state.newest = max(state.newest, state.said if state.begun else number)
        state.said = number
        return self._go_on(state, step)

    def told_again(self, sender: str, number: int, item: T, size: int) -> Step[T]:
        """A message of that many bytes came as an answer."""
        state = self._senders.get(sender)
        if state is None:
            return Step()
        state.replies += 1
        state.size += size
        if number <= state.last or number in state.waiting:
            return Step()
        state.news = True
        state.waiting[number] = item
        state.newest = max(state.newest, number)
        return Step(_next(state))

    def answered(self, sender: str, now: float) -> Step[T]:
        """No answer will come any more. `now` in monotonic seconds."""
        state = self._senders.get(sender)
        if state is None or state.asked is None:
            return Step()
        asked, state.asked = state.asked, None
        step = Step[T](_next(state))
        if state.news:
            state.misses, state.silent = 0, None
            self._widen(state, asked)
        elif state.replies:
            state.misses, state.silent = state.misses + 1, None
        elif state.silent is None:
            state.silent = now
        fruitless = not state.news
        state.replies, state.size, state.news = 0, 0, False
        _give_up(state, step, state.newest - self._cache)
        if state.silent is not None and now - state.silent >= PATIENCE:
            _give_up(state, step, state.newest)
        elif state.misses >= TRIES:
            state.misses = 0
            _give_up(state, step, min(state.waiting, default=state.newest + 1) - 1)
        return self._go_on(state, step, PAUSE if fruitless else 0.0)

    def ended(self, group: int) -> Step[T]:
        """Nobody of that group is there any more to be asked."""
        step = Step[T]()
        for state in self._senders.values():
            if state.group == group:
                _give_up(state, step, state.newest)
        return step

    def _go_on(self, state: _Sender[T], step: Step[T], pause: float = 0.0) -> Step[T]:
        """Asks for what is missing, unless that is under way."""
        if state.asked is None and state.last < state.newest:
            first = max(state.last + 1, state.newest - self._cache + 1)
            behind = min(state.waiting, default=state.newest + 1)
            # With the one behind the gap, if there is one: it shows that the sender has answered.
            last = min(first + state.window - 1, max(behind, first), state.newest)
            state.asked = step.ask = Ask(first, last, pause)
        return step

    def _widen(self, state: _Sender[T], asked: Ask) -> None:
        if state.last >= asked.last:
            most = max(1, min(WIDEST, BYTES * state.replies // max(1, state.size)))
            state.window = min(2 * state.window, most)
        else:
            state.window = max(1, state.window // 2)

    def _sender(self, sender: str, group: int) -> tuple[_Sender[T], Step[T]]:
        """Also what those have left whom it follows, if it is new."""
        step = Step[T]()
        if sender not in self._senders:
            past = [name for name, it in self._senders.items() if it.group == group]
            for name in past:
                _give_up(self._senders[name], step, self._senders[name].newest)
            for name in past[: max(0, len(past) + 1 - PAST)]:
                del self._senders[name]
            self._senders[sender] = _Sender(group)
        return self._senders[sender], step


def _next(state: _Sender[T]) -> list[T]:
    """What waits for nothing any more."""
    ready = []
    while state.last + 1 in state.waiting:
        state.last += 1
        ready.append(state.waiting.pop(state.last))
    state.begun = state.begun or bool(ready)
    return ready


def _give_up(state: _Sender[T], step: Step[T], until: int) -> None:
    """What is missing up to that number; what came is handed out. What was before a reader's first
    message is nothing that it has missed."""
    for number in sorted(it for it in state.waiting if it <= until):
        step.lost += number - state.last - 1 if state.begun else 0
        state.last, state.begun = number, True
        step.ready.append(state.waiting.pop(number))
    if until > state.last:
        step.lost += until - state.last if state.begun else 0
        state.last = until
    step.ready += _next(state)
