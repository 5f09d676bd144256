"""Who sends to whose queues in a running runtime, and who is held back by them. Node (>= 3.10).

What `wiring` says of operators, for those that are there: of some there are several, which come
and go. Main thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dora.runtime.group import Group
from dora.runtime.operator import Operator
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Way
from dora.runtime.silences import Silences
from dora.runtime.task import Queue, Task
from dora.runtime.wiring import Port, Wiring


class Connections:
    """`operators` and `groups` are the crew's, and change. `targets`: what comes from outside ->
    the queues that it goes to."""

    def __init__(
        self,
        wiring: Wiring,
        operators: Mapping[str, Operator],
        groups: Mapping[str, Group],
        scheduler: Scheduler,
        silences: Silences,
        clock: Callable[[], float],
    ) -> None:
        self.targets: dict[str, tuple[Queue, ...]] = {}
        self._wiring = wiring
        self._operators = operators
        self._groups = groups
        self._scheduler = scheduler
        self._silences = silences
        self._clock = clock
        self._heard: dict[Port, list[Way]] = {}  # of inputs with a timeout: who sends to them

    def __repr__(self) -> str:
        return f"<Connections of {len(self._operators)} operators>"

    def connect(self) -> None:
        """All of them, once."""
        for operator in self._operators.values():
            self.lay_ways(operator)
        self.redirect()
        held_back: list[tuple[Task, Queue]] = []
        for group in self._groups.values():
            # Replicas hold back those who send to their group.
            for member in group.members.values():
                for name in group.shared:
                    if self._wiring.inputs[group.base, name].queue_policy == "backpressure":
                        held_back.append((group.task, member.task.queues[name]))
        for operator in self._operators.values():
            for queue in self._holding(operator):
                held_back.append((operator.task, queue))
        self._scheduler.connect(held_back)
        now = self._clock()
        for readers in self._wiring.inside.values():
            for reader in readers:
                for queue in self._queues(reader):
                    self._watch(reader, queue, now)

    def lay_ways(self, operator: Operator) -> None:
        """For its outputs; nobody is at their ends before `redirect`."""
        for output in operator.config.outputs:
            name = self._wiring.names[operator.base, output]
            outside = name if name in self._wiring.outside.outputs else None
            way = operator.sender.ways[output] = Way((), outside)
            for reader in self._wiring.inside.get((operator.base, output), ()):
                if self._wiring.inputs[reader].timeout:
                    self._heard.setdefault(reader, []).append(way)

    def redirect(self) -> None:
        """Those who send look anew who reads."""
        for operator in self._operators.values():
            for output, way in operator.sender.ways.items():
                readers = self._wiring.inside.get((operator.base, output), ())
                way.lead(tuple(queue for reader in readers for queue in self._queues(reader)))
        self.targets = {
            name: tuple(queue for reader in readers for queue in self._queues(reader))
            for name, readers in self._wiring.arrivals.items()
        }

    def _queues(self, reader: Port) -> tuple[Queue, ...]:
        operator, name = reader
        group = self._groups.get(operator)
        if group is not None:
            return group.queues(name)
        return (self._operators[operator].task.queues[name],)

    def _holding(self, operator: Operator) -> Iterator[Queue]:
        """The queues that hold it back when they are full."""
        for output in operator.sender.ways:
            for reader in self._wiring.inside.get((operator.base, output), ()):
                if self._wiring.inputs[reader].queue_policy == "backpressure":
                    yield from self._queues(reader)

    def _watch(self, reader: Port, queue: Queue, now: float) -> None:
        timeout = self._wiring.inputs[reader].timeout
        if timeout:
            self._silences.watch(queue, self._heard[reader], timeout, now)

    def add(self, operator: Operator, sibling: Operator) -> None:
        """One more replica, which holds back and is held back as `sibling` is."""
        self.lay_ways(operator)
        self.redirect()
        assert operator.group is not None
        for name, queue in operator.task.queues.items():
            if name not in operator.group.shared:
                for feeder in sibling.task.queues[name].feeders:
                    self._scheduler.feeds(feeder, queue)
                self._watch((operator.base, name), queue, self._clock())
        for queue in self._holding(operator):
            if sibling.task in queue.feeders:
                self._scheduler.feeds(operator.task, queue)

    def remove(self, operator: Operator) -> None:
        """It has ended, and is none of the operators any more."""
        for queue in self._holding(operator):
            self._scheduler.feeds_no_more(operator.task, queue)
        ways = list(operator.sender.ways.values())
        for heard in self._heard.values():
            heard[:] = [way for way in heard if way not in ways]
        self.redirect()
