"""Replicas of one operator in one runtime, and what they share. No I/O; runs in nodes (>= 3.10).

What is sent to an input that they share waits in one line, `Shared.queue`, which those who send
fill like the queue of any operator. From there it goes, one message at a time, to replicas that
have nothing to do: so nobody waits behind a slow one while another is free. Main thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dora.communication.distribution import Distributor, key_of
from dora.event import Event
from dora.protocol.config import InputConfig, replica_name
from dora.protocol.runtime import OperatorConfig
from dora.runtime.operator import Operator, State
from dora.runtime.scheduler import Scheduler
from dora.runtime.task import NOTICE, RUNNING, Queue, Task

Replaces = Callable[[Event], bool]


class Replica:
    """The way to one replica by one input that it shares. See `distribution.Lane`."""

    __slots__ = ("given", "operator", "queue")

    def __init__(self, operator: Operator, queue: Queue) -> None:
        self.operator = operator
        self.queue = queue
        self.given = 0

    @property
    def there(self) -> bool:
        return self.operator.state is State.RUNNING

    @property
    def open(self) -> bool:
        """Nothing that it was given waits, and it could be called at once."""
        operator = self.operator
        return self.there and not (operator.leaving or operator.task.off or self._waiting)

    def load(self) -> int:
        return self.operator.task.depth

    def finished(self) -> int:
        task = self.operator.task
        works = bool(task.off & RUNNING) and task.queue is self.queue
        return self.given - self._waiting - works

    @property
    def _waiting(self) -> int:
        return len(self.queue.items) - self.queue.noticed

    def take_back(self) -> list[tuple[float, Any]]:
        """The messages that it was given and has not begun with."""
        items = list(self.queue.items)
        self.queue.items.clear()
        self.queue.items.extend(item for item in items if item[0] == NOTICE)
        return [item for item in items if item[0] != NOTICE]


class Shared:
    """One input that the replicas share. `key` names the parameter of which equal values stay in
    order; empty: none."""

    def __init__(self, queue: Queue, key: str, scheduler: Scheduler) -> None:
        self.queue = queue
        self._key = key
        self._scheduler = scheduler
        self._lanes: dict[Operator, Replica] = {}
        self._distributor: Distributor[Replica] = Distributor()
        scheduler.share(queue, self.give)

    def __repr__(self) -> str:
        return f"<Shared {self.queue!r} by {len(self._lanes)}>"

    def join(self, operator: Operator) -> None:
        self._lanes[operator] = Replica(operator, operator.task.queues[self.queue.input])

    def leave(self, operator: Operator) -> None:
        """What it was given and has not begun with goes to others."""
        if operator in self._lanes:
            self.take_back(operator)
            del self._lanes[operator]

    def take_back(self, operator: Operator) -> None:
        lane = self._lanes.get(operator)
        if lane is not None:
            self.queue.items.extendleft(reversed(lane.take_back()))

    def give(self) -> bool:
        """To as many as can take something; whether there was one."""
        items = self.queue.items
        if not items:
            return False
        lanes = list(self._lanes.values())
        free = sum(lane.open for lane in lanes)
        if not free:
            return False
        held: set[Any] = set()  # keys whose next message has to wait
        passed: list[tuple[float, Any]] = []
        gave = False
        while items and free:
            item = items.popleft()
            key = self._key_of(item[1])
            lane = None if key in held else self._distributor.choose(lanes, key)
            if lane is None:
                passed.append(item)
                held.add(key)
                continue
            lane.given += 1
            self._distributor.gave(lane, lane.given, key)
            lane.queue.items.append(item)
            if not lane.queue.active:
                self._scheduler.push(lane.queue)
            free -= 1
            gave = True
        items.extendleft(reversed(passed))
        self._scheduler.relieve(self.queue)
        return gave

    def _key_of(self, event: Any) -> Hashable | None:
        if not self._key:
            return None  # and nothing is decoded
        try:
            return key_of(event["metadata"], self._key)
        except ValueError:
            return None  # nobody can decode it; the operator is told


@dataclass
class _News:
    """What is to be told of an input once nothing waits before it."""

    told: list[tuple[Event, Replaces]] = field(default_factory=list)
    closed: bool = False


class Group:
    """The replicas of the operator `config`. `task` stands for all of them: it is never called, and
    has the queues that they share. `inputs`: the input -> how it is wired."""

    def __init__(
        self,
        config: OperatorConfig,
        inputs: Mapping[str, InputConfig],
        scheduler: Scheduler,
        wanted: int,
    ) -> None:
        self.config = config
        self.base = config.id
        self.wanted = wanted
        self.members: dict[int, Operator] = {}
        self.closed: set[str] = set()
        self.ended = False  # some of them may have nothing to wait for any more
        self._scheduler = scheduler
        self._sizes = {
            name: (inputs[name].queue_size, inputs[name].queue_policy) for name in config.balanced
        }
        self.task: Task = scheduler.add(config, self._sizes)
        self.task.owner = self
        self.shared = {
            name: Shared(self.task.queues[name], key, scheduler)
            for name, key in config.balanced.items()
        }
        self._news: dict[str, _News] = {name: _News() for name in self.shared}

    def __repr__(self) -> str:
        return f"<Group {self.base} of {len(self.members)}, {self.wanted} wanted>"

    @property
    def state(self) -> State:
        """Over once all are. (Before the first one came none has ended.)"""
        members = list(self.members.values())  # another thread may ask while they change
        over = members and all(it.state.over for it in members)
        return State.ENDED if over else State.RUNNING

    @property
    def waiting(self) -> int:
        """Messages that no replica has yet."""
        return self.task.depth

    def named(self, number: int) -> OperatorConfig:
        """The configuration of one replica."""
        return replace(self.config, id=replica_name(self.base, number))

    def join(self, operator: Operator) -> None:
        """One more; it hears of what has closed before."""
        self.members[operator.replica] = operator
        for shared in self.shared.values():
            shared.join(operator)
        self.resize()

    def part(self, operator: Operator) -> None:
        """It has left for good."""
        self.release(operator)
        self.members.pop(operator.replica, None)
        self.resize()

    def release(self, operator: Operator) -> None:
        """It has ended: what it has not begun with goes to the others, if there are any."""
        for shared in self.shared.values():
            shared.leave(operator)
        if self.state.over:
            self._scheduler.remove(self.task)

    def take_back(self, operator: Operator) -> None:
        """It has failed and comes back, or is to go: the others do its work."""
        for shared in self.shared.values():
            shared.take_back(operator)

    def queues(self, input: str) -> tuple[Queue, ...]:
        """Where messages for this input go."""
        if input in self.shared:
            return (self.shared[input].queue,)
        return tuple(
            member.task.queues[input]
            for member in self.members.values()
            if not (member.leaving or member.state.over)
        )

    def tell(self, input: str, event: Event, replaces: Replaces) -> None:
        """All of them, behind what waits for them together."""
        if input not in self.shared:
            self._tell_all(input, event, replaces)
            return
        news = self._news[input]
        news.told = [it for it in news.told if not replaces(it[0])] + [(event, replaces)]
        self._tell(input)

    def close(self, input: str) -> None:
        """Nothing more comes to this input."""
        self.closed.add(input)
        if input in self.shared:
            self._news[input].closed = True
            self._tell(input)
        else:
            self._close_all(input)

    def reopen(self, input: str) -> None:
        self.closed.discard(input)
        if input in self.shared:
            self._news[input].closed = False
        for member in self.members.values():
            member.closed.discard(input)

    def give(self) -> bool:
        """Goes on with what waits; whether there was anything to be done."""
        done = False
        for name, shared in self.shared.items():
            if shared.queue.items:
                done |= shared.give()
                self._tell(name)
        return done

    def _tell(self, input: str) -> None:
        news = self._news[input]
        if self.shared[input].queue.items:
            return
        told, news.told = news.told, []
        for event, replaces in told:
            self._tell_all(input, event, replaces)
        if news.closed:
            news.closed = False
            self._close_all(input)

    def _tell_all(self, input: str, event: Event, replaces: Replaces) -> None:
        for member in self.members.values():
            if not member.state.over:
                member.attention = True
                queue = member.task.queues[input]
                self._scheduler.tell(queue, Event(event), replaces)

    def _close_all(self, input: str) -> None:
        for member in self.members.values():
            member.closed.add(input)
            member.attention = True
        self.ended = True

    def resize(self) -> None:
        """As much may wait as each replica's queue would hold."""
        if self.state.over:
            return
        present = sum(not (it.leaving or it.state.over) for it in self.members.values())
        for name, (size, policy) in self._sizes.items():
            self._scheduler.resize(self.shared[name].queue, size * max(present, 1), policy)
