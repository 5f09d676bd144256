"""The events of a node in order: one epoll for messages, ticks and the control pipe (>= 3.10).

Everything happens in the thread that asks for events; nothing else runs.
"""

from __future__ import annotations

import logging
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dora.communication.base import Kind, Message, Subscription
from dora.communication.inbox import BACKPRESSURE, capacity
from dora.event import (
    Event,
    InputEvent,
    input_closed_event,
    input_event,
    input_recovered_event,
    node_failed_event,
    node_restarted_event,
    stop_event,
    tick_event,
)
from dora.handover import Handover
from dora.inputs import Inputs
from dora.protocol.config import InputConfig, source_of
from dora.protocol.supervision import RELOAD, STOP, ControlPipe
from dora.protocol.traffic import InputTraffic
from dora.pulse import Pulse
from dora.timers import Timers

logger = logging.getLogger("dora")

DRAIN = 20.0  # s that a replica may take for its queue when it is asked to leave
_SHORT = 0.05  # s; waits below this are done with select, which knows microseconds
_AT_ONCE = 64  # how many ready inputs are looked at together
_SELECT_LIMIT = 1024  # select cannot take fds from here on
_WORDS = 16  # of a sender's end and deaths, that may wait beside a queue


class EventStream:
    """`clock` is monotonic, in nanoseconds. Timers start when the stream is made.

    A `lasting` stream ends when it is stopped, and not when all inputs have closed. Who asks for
    events shows by that, through `pulse`, that the program does not hang.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputConfig],
        subscriptions: Mapping[str, Subscription],
        control: ControlPipe | None,
        *,
        ignore_timers_at_end: bool = False,
        lasting: bool = False,
        pulse: Pulse | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._config = inputs
        self._subscriptions = dict(subscriptions)
        self._control = control
        self._pulse = pulse
        now = clock()
        timers = {name: i for name, i in inputs.items() if i.interval is not None}
        self._timers = Timers(
            {name: (i.interval or 0, i.queue_size) for name, i in timers.items()}, now
        )
        self._inputs = Inputs(
            closable=subscriptions,
            endless=timers,
            timeouts={n: i.timeout for n, i in inputs.items() if i.timeout and n in subscriptions},
            now=now / 1e9,
            ignore_endless=ignore_timers_at_end,
        )
        self._deaths: dict[str, tuple[Kind, object]] = {}  # by node: the last one, as it was told
        self._pending: deque[Event] = deque()
        self._allowance: dict[str, int] | None = None  # after a stop: how much each may still give
        self._ended = False
        self._lasting = lasting
        self.closures = 0  # how often a producer has said that it ended
        self.stopped = False  # somebody asked the node to leave
        self.reloads: list[str] = []  # other code that a runtime is to take over
        self._received = dict.fromkeys(inputs, 0)
        self._shared = self._sharing()
        self._draining: float | None = None  # until when what was given to us is worked off
        # Nothing but open subscriptions without timeouts: then a message takes a short way.
        endless = not timers and not any(i.timeout for i in inputs.values())
        self._plain = endless and pulse is None and not self._shared
        self._epoll = select.epoll()
        self._seen: list[tuple[int, int]] = []  # what `wait` found ready
        self._names: dict[int, str] = {}
        # What the short way of a message needs: name, subscription, what its events have in common.
        self._wires: dict[int, tuple[str, Subscription, dict[str, str]]] = {}
        for name, subscription in subscriptions.items():
            self._listen(name, subscription)
        self._lost: Counter[str] = Counter()  # by subscriptions that inputs do not have any more
        self._handover = Handover()
        self._epoll.register(self._handover.fileno(), select.EPOLLIN)
        if control is not None:
            self._epoll.register(control.fileno(), select.EPOLLIN)
            self._obey()  # a line may have been read from the pipe already

    @property
    def ended(self) -> bool:
        """No event will come any more."""
        return self._ended

    def fileno(self) -> int:
        """Readable when `take` may have something; timers and timeouts only show in `deadline`."""
        return self._epoll.fileno()

    def deadline(self) -> float | None:
        """Monotonic seconds at which `take` will have something even if nothing arrives, or is to
        be called as a sign of life."""
        if self._pending:
            return 0.0
        deadlines = [self._inputs.deadline()]
        tick = None if self._allowance is not None else self._timers.deadline()
        deadlines.append(None if tick is None else tick / 1e9)
        if self._draining is not None:
            deadlines.append(self._clock() / 1e9 + _SHORT)
        if self._pulse is not None and not self._ended:
            deadlines.append(self._pulse.due)
        return min((d for d in deadlines if d is not None), default=None)

    def follow(self, owner: object) -> Iterator[Event]:
        """All events from now on; keeps `owner` alive meanwhile.

        In one function as far as it goes: after a pause each further one costs a message as much
        as a system call.
        """
        poll, wires, received = self._epoll.poll, self._wires, self._received
        data = Kind.DATA
        while True:
            # With `_plain` nothing but a message can be next, unless something waits here already.
            if self._plain and not self._pending and not self._seen and not self._ended:
                seen = poll(-1, _AT_ONCE)
                wire = wires.get(seen[0][0]) if len(seen) == 1 else None
                if wire is not None:
                    name, subscription, common = wire
                    message = subscription.receive()
                    if message is None:
                        continue
                    if message[0] is data:
                        received[name] += 1
                        arrived = InputEvent(common)
                        arrived._message = message
                        yield arrived
                        continue
                    event = self._learn(name, message) or self.take()
                else:
                    self._seen = seen
                    event = self.take()
            else:
                event = self.take()
            if event is not None:
                yield event
            elif self._ended:
                return
            else:
                self.wait(None)

    def message(self, seconds: float | None) -> Event | None:
        """The next message, if nothing else can come before it, within `seconds`; None says only
        that `take` has to look. As `follow`, in one function."""
        if not self._plain or self._pending or self._seen or self._ended:
            return None
        if seconds is not None and seconds < _SHORT:
            return None
        seen = self._epoll.poll(seconds, _AT_ONCE)
        wire = self._wires.get(seen[0][0]) if len(seen) == 1 else None
        if wire is not None:
            name, subscription, common = wire
            message = subscription.receive()
            if message is None:
                return None
            if message[0] is Kind.DATA:
                self._received[name] += 1
                event = InputEvent(common)
                event._message = message
                return event
            return self._learn(name, message)
        self._seen = seen
        return None

    def take(self) -> Event | None:
        """The next event, or None if there is none at the moment (or `ended`). Never blocks."""
        if self._pulse is not None:
            self._pulse.sign()
        if self._shared:
            self._done()
        if self._pending:
            return self._pending.popleft()
        if self._ended:
            return None
        seen, self._seen = self._seen or self._epoll.poll(0), []
        if self._plain and len(seen) == 1:
            name = self._names.get(seen[0][0])
            if name is not None:
                message = self._subscriptions[name].receive()
                if message is not None:
                    self._inputs.served(name)
                    if message.kind is Kind.DATA:
                        self._received[name] += 1
                        return input_event(name, message)
                    return self._learn(name, message) or self.take()
        now = self._clock()
        ready = self._ready(seen, now)
        if self._pending:
            return self._pending.popleft()
        for name in self._inputs.turns(ready):
            event = self._serve(name, now)
            if event is not None:
                self._inputs.served(name)
                return event
        for name in self._inputs.expire(now / 1e9):
            self._pending.append(input_closed_event(name))
        if self._pending:
            return self._pending.popleft()
        if self._allowance is not None:
            self._ended = True  # the stop was said, and nothing waits any more
            if self._pulse is not None:
                self._pulse.end()
        return None

    def wait(self, seconds: float | None) -> None:
        """Until `take` may have something, at most `seconds`. Signal handlers run meanwhile."""
        deadline = None if self._plain else self.deadline()
        if deadline is not None:
            left = max(deadline - self._clock() / 1e9, 0.0)
            seconds = left if seconds is None else min(seconds, left)
        fd = self._epoll.fileno()
        if seconds is not None and seconds < _SHORT and fd < _SELECT_LIMIT:
            select.select([fd], [], [], seconds)
        else:
            self._seen = self._epoll.poll(seconds)

    def is_empty(self) -> bool:
        """Whether `take` would give nothing now."""
        if self._pending:
            return False
        self._seen = []
        return not self._ready(self._epoll.poll(0), self._clock()) and not self._pending

    def is_closed(self, name: str) -> bool:
        """Whether the input's producer has ended; it may still come back."""
        return self._inputs.is_closed(name)

    def traffic(self) -> dict[str, InputTraffic]:
        """What each input has given so far, and lost. From any thread."""
        subscriptions: Mapping[str, Any] = self._subscriptions
        lost = {name: it.dropped + self._lost[name] for name, it in subscriptions.items()}
        waiting = {
            name: it.waiting for name, it in subscriptions.items() if self._config[name].share
        }
        return {
            name: InputTraffic(count, lost.get(name, 0), waiting.get(name, 0))
            for name, count in self._received.items()
        }

    def close(self) -> None:
        """Gives the epoll back; subscriptions belong to their layers. May be called twice."""
        self._ended = True
        if self._pulse is not None:
            self._pulse.end()
        self._pending.clear()
        self._epoll.close()
        self._handover.close()

    def change(self, name: str, subscription: Subscription) -> None:
        """From any thread: from now on the input is fed by this one. What waits in the one before
        comes first; then that is closed."""
        self._handover.offer(name, subscription)

    @property
    def changing(self) -> bool:
        """Whether the program has not come by since a `change`."""
        return self._handover.under_way

    def _ready(self, seen: list[tuple[int, int]], now: int) -> set[str]:
        """The inputs that have something; the control pipe is served on the way."""
        wake = self._handover.fileno()
        if any(fd == wake for fd, _ in seen):
            self._take_over()
            seen = self._epoll.poll(0)
        ready: set[str] = set()
        for fd, _ in seen:
            name = self._names.get(fd)
            if name is None:
                self._obey()
            elif self._allowance is None or self._allowance[name] > 0:
                ready.add(name)
        if self._allowance is None:
            ready |= self._timers.due(now)
        return ready

    def _obey(self) -> None:
        assert self._control is not None
        for line in self._control.read_lines():
            if line == STOP and not self.stopped:
                self.stopped = True
                if self._shared and self._allowance is None:
                    self._drain()
                else:
                    self._stop("MANUAL")
            elif line.startswith(f"{RELOAD} "):
                self.reloads.append(line.removeprefix(RELOAD).strip())
            elif line != STOP:
                logger.warning("unknown control message %r", line[:80])

    def _listen(self, name: str, subscription: Subscription) -> None:
        fd = subscription.fileno()
        self._names[fd] = name
        self._wires[fd] = name, subscription, {"type": "INPUT", "id": name, "kind": "dora"}
        self._epoll.register(fd, select.EPOLLIN)

    def _take_over(self) -> None:
        """Inputs get the subscriptions that `change` brought."""
        for name, subscription in self._handover.waiting():
            before = self._subscriptions[name]
            self._take_rest(name, before)
            fd = next(fd for fd, it in self._names.items() if it == name)
            self._epoll.unregister(fd)
            del self._names[fd], self._wires[fd]
            self._lost[name] += before.dropped
            self._subscriptions[name] = subscription
            before.close()
            self._listen(name, subscription)
            self._handover.taken()
        self._seen = []  # it may name descriptors that are no more, or are others by now
        self._shared = self._sharing()
        if self._draining is not None:
            for shared in self._shared:
                shared.drain()

    def _take_rest(self, name: str, before: Subscription) -> None:
        """What waits there, as far as it may: who sends may not have stopped."""
        now = self._clock()
        for _ in range(capacity(self._config[name].queue_size, BACKPRESSURE) + _WORDS):
            message = before.receive()
            if message is None:
                return
            if message.kind is Kind.DATA:
                self._received[name] += 1
                if self._inputs.heard(name, now / 1e9):
                    self._pending.append(input_recovered_event(name))
                self._pending.append(input_event(name, message))
            elif message.kind is Kind.CLOSED:
                self._note_closed(name)
            elif (event := self._learn(name, message)) is not None:
                self._pending.append(event)

    def _sharing(self) -> tuple[Any, ...]:
        """Of replicas that share an input: their senders want to know when a message is done."""
        its = self._subscriptions.items()
        return tuple(it for name, it in its if self._config[name].share)

    def _done(self) -> None:
        """The program asks for the next event: it is done with all before."""
        for subscription in self._shared:
            subscription.done()
        if self._draining is None or self._allowance is not None:
            return
        over = self._clock() / 1e9 > self._draining
        if over or all(subscription.drained for subscription in self._shared):
            if over:
                logger.warning("asked to leave %.0f s ago, and not through with its queue", DRAIN)
            self._draining = None
            self._stop("MANUAL")

    def _drain(self) -> None:
        """Asked to leave: what this replica was given it works off, and is given no more."""
        self._draining = self._clock() / 1e9 + DRAIN
        for subscription in self._shared:
            subscription.drain()

    def _stop(self, cause: str) -> None:
        self._pending.append(stop_event(cause))
        self._plain = False
        self._seen = []
        # What waits is still delivered. Producers that go on sending must not keep us for ever.
        self._allowance = {
            name: max(self._config[name].queue_size, 1) for name in self._subscriptions
        }

    def _serve(self, name: str, now: int) -> Event | None:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            tick = self._timers.take(name, now)
            self._received[name] += 1
            return tick_event(name, time.time_ns() - (now - tick))
        message = subscription.receive()
        if message is None:
            return None
        if self._allowance is not None:
            self._allowance[name] -= 1
        if message.kind is Kind.DATA:
            return self._deliver(name, message, now)
        return self._learn(name, message) or self._serve(name, now)

    def _learn(self, name: str, message: Message) -> Event | None:
        """What is no message; None if it is no news."""
        if message.kind is Kind.CLOSED:
            return self._close(name)
        # Each of the inputs that read the node tells of its death, and routers repeat it.
        node = source_of(self._config[name])
        death = message.kind, message.metadata.get("process")
        if self._deaths.get(node) == death:
            return None
        self._deaths[node] = death
        if message.kind is Kind.RESTARTED:
            return node_restarted_event(node)
        affected = [it for it in self._subscriptions if source_of(self._config[it]) == node]
        return node_failed_event(node, str(message.metadata.get("error", "")), affected)

    def _close(self, name: str) -> Event | None:
        self._note_closed(name)
        return self._pending.popleft() if self._pending else None

    def _note_closed(self, name: str) -> None:
        self._plain = False
        self.closures += 1
        if self._inputs.close(name):
            self._pending.append(input_closed_event(name))
        if self._inputs.all_closed and self._allowance is None and not self._lasting:
            self._stop("ALL_INPUTS_CLOSED")

    def _deliver(self, name: str, message: Message, now: int) -> Event:
        event = input_event(name, message)
        self._received[name] += 1
        if self._inputs.heard(name, now / 1e9):
            self._pending.append(event)
            return input_recovered_event(name)
        return event
