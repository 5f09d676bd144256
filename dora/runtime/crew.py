"""The operators of a runtime: made, failed, made again, ended. Node (>= 3.10).

Main thread only; operators that asked for a thread are made in theirs.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from math import inf

from dora.event import (
    Event,
)
from dora.protocol.runtime import OperatorConfig, RuntimeConfig
from dora.runtime.base import Instance
from dora.runtime.connections import Connections
from dora.runtime.errors import OperatorError
from dora.runtime.failure import one_line, told
from dora.runtime.group import Group
from dora.runtime.notices import Notices
from dora.runtime.operator import Around, Operator, State
from dora.runtime.replicas import Replicas, first
from dora.runtime.restart import restart_after
from dora.runtime.sending import Exchange, ReplicaSender, Sender
from dora.runtime.silences import Silences
from dora.runtime.task import RUNNING, Queue
from dora.runtime.wiring import Wiring
from dora.runtime.worker import Worker

logger = logging.getLogger("dora")

Made = Callable[[Instance | None, BaseException | None], None]


class Crew:
    """`make` gives an operator's instance, with its state restored. `clock`: monotonic seconds.
    `around` goes about all calls of operators. `counts`: how many replicas operators have, of those
    that have any; one if nothing is said."""

    def __init__(
        self,
        runtime: RuntimeConfig,
        wiring: Wiring,
        exchange: Exchange,
        make: Callable[[OperatorConfig], Instance],
        clock: Callable[[], float],
        around: Around | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self._around = around
        self._exchange = exchange
        self._scheduler = exchange.scheduler
        self._mailbox = exchange.mailbox
        self._make = make
        self._clock = clock
        self._wiring = wiring
        self._finish: Callable[[str], None] = _nobody
        self._restarts: list[tuple[float, int, Operator]] = []
        self._numbers = count()
        self._early: list[tuple[Operator, BaseException]] = []  # failed before `begin`
        self._loading = 0
        self._ignore_timers = False
        self.operators: dict[str, Operator] = {}  # each replica by its own name
        self.groups: dict[str, Group] = {}
        for config in runtime.operators:
            if config.replicated:
                wired = {name: wiring.inputs[config.id, name] for name in config.inputs}
                group = Group(config, wired, self._scheduler, (counts or {}).get(config.id, 1))
                self.groups[config.id] = group
                for number, its in enumerate(first(group), start=1):
                    self._new(its, group, number)
            else:
                self._new(config)
        self.notices = Notices(wiring, self.operators, self.groups, self._scheduler)
        self.silences = Silences(self.notices.hush, exchange, clock)
        self.connections = Connections(
            wiring, self.operators, self.groups, self._scheduler, self.silences, clock
        )
        self.connections.connect()
        self.replicas = Replicas(self.groups, self)
        self.live = len(self.operators)
        self.failed = False  # an operator has failed for good

    def __repr__(self) -> str:
        return f"<Crew of {len(self.operators)}, {self.live} live>"

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators.values())

    # Coming

    def load(self) -> list[OperatorError]:
        """Makes all operators. What they raise themselves is dealt with by `begin`; returned is
        what is wrong with their code, each file once: then none of them should run."""
        faults: dict[str, OperatorError] = {}

        def made(
            operator: Operator, instance: Instance | None, error: BaseException | None
        ) -> None:
            self._loading -= 1
            if instance is not None:
                self._runs(operator, instance)
            elif isinstance(error, OperatorError):
                faults.setdefault(operator.config.code, error)
            elif error is not None:
                self._early.append((operator, error))

        for operator in self:
            self._loading += 1
            self._employ(operator)
            self.build(operator, partial(self._make, operator.config), partial(made, operator))
        while self._loading:
            self._mailbox.wait()
            self._mailbox.work()
        return list(faults.values())

    def begin(self, finish: Callable[[str], None], *, ignore_timers_at_end: bool = False) -> None:
        """From now on operators may end. `finish` tells the readers outside that an output has;
        timers alone do not keep an operator if they are to be ignored and it has other inputs."""
        self._finish = finish
        self._ignore_timers = ignore_timers_at_end
        for operator in self:
            self._judge(operator)
        early, self._early = self._early, []
        for operator, error in early:
            self.fail(operator, error)
        for operator in list(self):
            self.look(operator)

    # Failing

    def fail(self, operator: Operator, error: BaseException) -> None:
        """It raised: reports it, drops it, and lets it come back if its policy says so."""
        if operator.state.over:
            return
        now = self._clock()
        lived = now - operator.since if operator.state is State.RUNNING else 0.0
        operator.error = one_line(error)
        again = restart_after(operator.config, attempts=operator.attempts, lived=lived)
        if again is None or operator.stopping:
            times = f" after {operator.restarts} restarts" if operator.restarts else ""
            follows = f"it stays ended{times}"
        else:
            follows = f"it is started again in {again[0]:g} s"
        logger.error("operator %s failed; %s\n%s", operator.config.id, follows, told(error))
        self._drop(operator)
        if again is None or operator.stopping:
            self.end(operator, State.FAILED)
        else:
            if operator.group is not None:
                operator.group.take_back(operator)
            operator.attempts = again[1]
            self._again(operator, again[0])

    def next_restart(self) -> float:
        """When an operator is to come back; inf if none is."""
        return self._restarts[0][0] if self._restarts else inf

    def restart(self, now: float) -> None:
        """Makes those anew whose pause is over."""
        while self._restarts and self._restarts[0][0] <= now:
            operator = heapq.heappop(self._restarts)[2]
            if operator.state is State.BACKOFF:
                operator.restarts += 1
                self.build(
                    operator,
                    partial(self._make, operator.config),
                    partial(self._made_again, operator),
                )

    def reconfigure(self, operators: Iterable[OperatorConfig]) -> None:
        """What those are made of that are made from now on."""
        for config in operators:
            group = self.groups.get(config.id)
            if group is None:
                self.operators[config.id].config = config
                continue
            group.config = config
            for number, member in group.members.items():
                member.config = group.named(number)

    def replace(self, operator: Operator, instance: Instance) -> None:
        """A running operator goes on as this instance."""
        self._drop(operator)
        operator.take(instance)

    # Going

    def look(self, operator: Operator) -> None:
        """Ends the operator if nothing can come any more, or if a stop allows it no more calls."""
        if operator.state is not State.RUNNING or operator.task.off & RUNNING:
            return  # it is looked at again when it has been restarted, or has returned
        if operator.allowance <= 0 if operator.stopping else operator.done:
            self.end(operator)
        elif operator.group is not None:
            operator.group.give()

    def stop(self, operator: Operator, event: Event) -> None:
        """It gets this once, and as much as waits, but no more than its queues hold."""
        operator.stopping = operator.attention = True
        if operator.state is State.BACKOFF:
            self.end(operator)
        if operator.state.over:
            return
        task = operator.task
        operator.allowance = task.depth + 1
        if not operator.leaving:  # the whole runtime stops, and others still send
            operator.allowance += sum(queue.size for queue in task.queues.values())
            operator.allowance += operator.group.waiting if operator.group is not None else 0
        queue = Queue(task, "", 1, 1, inf)
        task.queues = {**task.queues, "": queue}  # others may be counting what waits
        self._scheduler.tell(queue, Event(event))

    def end(self, operator: Operator, state: State = State.ENDED) -> None:
        """Drops it for good; its readers are told. May be called twice."""
        if operator.state.over:
            return
        self._drop(operator)
        operator.state = state
        self.live -= 1
        self.failed = self.failed or state is State.FAILED
        if operator.group is not None:
            operator.group.release(operator)
        self._scheduler.remove(operator.task)
        operator.sender.close()
        if operator.worker is not None:
            operator.worker.end()
        if operator.stopping:
            return  # it is the node that leaves, and it may come back; or one replica of several
        if operator.group is not None and not operator.group.state.over:
            return  # others go on
        for output, way in operator.sender.ways.items():
            for reader in self._wiring.inside.get((operator.base, output), ()):
                self.notices.close(*reader)
            if way.outside is not None and self.live:  # else the node leaves with its last operator
                self._finish(way.outside)

    # Making

    def _new(self, config: OperatorConfig, group: Group | None = None, number: int = 0) -> Operator:
        base = config.id if group is None else group.base
        wired = {name: self._wiring.inputs[base, name] for name in config.inputs}
        sizes = {name: (it.queue_size, it.queue_policy) for name, it in wired.items()}
        task = self._scheduler.add(config, sizes)
        self._scheduler.suspend(task)
        exchange = self._exchange
        sender = Sender(task, exchange) if group is None else ReplicaSender(task, exchange, number)
        operator = Operator(config, task, sender)
        operator.around = self._around
        operator.closable = sum(it.interval is None for it in wired.values())
        self.operators[config.id] = operator
        if group is not None:
            operator.group, operator.replica, operator.attention = group, number, True
            operator.closed |= group.closed
            group.join(operator)
        return operator

    # Replicas that come and go

    def engage(self, group: Group, number: int) -> None:
        """One more replica of a running runtime."""
        sibling = next(iter(group.members.values()))
        operator = self._new(group.named(number), group, number)
        self.live += 1
        self.connections.add(operator, sibling)
        self._judge(operator)
        self._employ(operator)
        self.build(
            operator, partial(self._make, operator.config), partial(self._made_again, operator)
        )

    def discharge(self, operator: Operator) -> None:
        """It has ended, and nothing is to be known of it any more."""
        del self.operators[operator.config.id]
        self.connections.remove(operator)

    def _judge(self, operator: Operator) -> None:
        """Whether some input keeps it for ever."""
        timers = len(operator.config.inputs) - operator.closable
        operator.endless = timers > 0 and not (self._ignore_timers and operator.closable)

    def _employ(self, operator: Operator) -> None:
        if operator.config.thread:
            operator.worker = Worker(f"dora-{operator.config.id}", self._mailbox)

    def build(self, operator: Operator, make: Callable[[], Instance], made: Made) -> None:
        """Where the operator runs; `made` is called in the main thread, maybe later."""
        if operator.worker is not None:
            operator.worker.do(make, made)
            return
        try:
            instance = make()
        except (Exception, SystemExit) as error:
            made(None, error)
        else:
            made(instance, None)

    def _made_again(
        self, operator: Operator, instance: Instance | None, error: BaseException | None
    ) -> None:
        if operator.state.over:  # stopped meanwhile
            if instance is not None:
                instance.close()
        elif instance is None:
            assert error is not None
            self.fail(operator, error)
        else:
            self._runs(operator, instance)
            self.look(operator)

    def _runs(self, operator: Operator, instance: Instance) -> None:
        operator.take(instance)
        operator.state = State.RUNNING
        operator.since = self._clock()
        self._scheduler.resume(operator.task)

    def _again(self, operator: Operator, delay: float) -> None:
        operator.state = State.BACKOFF
        self._scheduler.suspend(operator.task)
        when = self._clock() + delay
        heapq.heappush(self._restarts, (when, next(self._numbers), operator))

    def _drop(self, operator: Operator) -> None:
        instance, operator.instance = operator.instance, None
        operator.forget()
        if instance is not None and not operator.task.off & RUNNING:
            try:
                instance.close()
            except Exception as error:
                logger.error("operator %s, when dropped:\n%s", operator.config.id, told(error))


def _nobody(output: str) -> None:
    """Before the node takes part, nobody reads."""
