"""The operators of a runtime: made, failed, made again, ended. Node (>= 3.10).

Main thread only; operators that asked for a thread are made in theirs.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from math import inf

from dora.event import (
    Event,
    input_closed_event,
    input_recovered_event,
    node_failed_event,
)
from dora.protocol.config import source_of
from dora.protocol.runtime import OperatorConfig, RuntimeConfig
from dora.runtime.base import Instance
from dora.runtime.errors import OperatorError
from dora.runtime.failure import one_line, told
from dora.runtime.operator import Around, Operator, State
from dora.runtime.restart import restart_after
from dora.runtime.sending import Exchange, Sender, Way
from dora.runtime.silences import Silences
from dora.runtime.task import RUNNING, Queue
from dora.runtime.wiring import MEMORY, Wiring
from dora.runtime.worker import Worker

logger = logging.getLogger("dora")

Made = Callable[[Instance | None, BaseException | None], None]


class Crew:
    """`make` gives an operator's instance, with its state restored. `clock`: monotonic seconds.
    `around` goes about all calls of operators."""

    def __init__(
        self,
        runtime: RuntimeConfig,
        wiring: Wiring,
        exchange: Exchange,
        make: Callable[[OperatorConfig], Instance],
        clock: Callable[[], float],
        around: Around | None = None,
    ) -> None:
        self._around = around
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
        self.silences = Silences(self._hush, exchange, clock)
        self.operators = {config.id: self._new(config, exchange) for config in runtime.operators}
        self._connect()
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
            if operator.config.thread:
                operator.worker = Worker(f"dora-{operator.config.id}", self._mailbox)
            self.build(operator, partial(self._make, operator.config), partial(made, operator))
        while self._loading:
            self._mailbox.wait()
            self._mailbox.work()
        return list(faults.values())

    def begin(self, finish: Callable[[str], None], *, ignore_timers_at_end: bool = False) -> None:
        """From now on operators may end. `finish` tells the readers outside that an output has;
        timers alone do not keep an operator if they are to be ignored and it has other inputs."""
        self._finish = finish
        for operator in self:
            timers = len(operator.config.inputs) - operator.closable
            operator.endless = timers > 0 and not (ignore_timers_at_end and operator.closable)
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

    def replace(self, operator: Operator, instance: Instance) -> None:
        """A running operator goes on as this instance."""
        self._drop(operator)
        operator.take(instance)

    # Going

    def close(self, operator_id: str, name: str) -> None:
        """Nothing more comes to this input: the operator is told, behind what waits."""
        operator = self.operators[operator_id]
        if name in operator.closed or operator.state.over:
            return
        operator.closed.add(name)
        self.tell_closed(operator_id, name)

    def tell_closed(self, operator_id: str, name: str) -> None:
        """The input is silent, maybe for a while only."""
        operator = self.operators[operator_id]
        if not operator.state.over:
            operator.attention = True
            self._scheduler.tell(operator.task.queues[name], input_closed_event(name), _of_input)

    def reopen(self, operator_id: str, name: str) -> None:
        """Something came to an input that was closed or silent."""
        operator = self.operators[operator_id]
        operator.closed.discard(name)
        if not operator.state.over:
            self._scheduler.tell(operator.task.queues[name], input_recovered_event(name), _of_input)

    def tell_of_node(self, event: Event) -> None:
        """Another node has died: each operator that reads it is told once, behind what waits of
        it."""
        affected: dict[str, list[str]] = {}
        for (operator_id, name), wired in self._wiring.inputs.items():
            if wired.layer != MEMORY and wired.interval is None and source_of(wired) == event["id"]:
                affected.setdefault(operator_id, []).append(name)
        for operator_id, names in affected.items():
            task = self.operators[operator_id].task
            if self.operators[operator_id].state.over:
                continue
            told = Event(event)
            if event["type"] == "NODE_FAILED":
                told = node_failed_event(event["id"], event["value"]["error"], names)
            kind = event["type"]
            self._scheduler.tell(task.queues[names[0]], told, partial(_is_a, kind))

    def _hush(self, queue: Queue, silent: bool) -> None:
        """An edge of this runtime has carried nothing for too long; or has something again."""
        operator: Operator = queue.task.owner
        if queue.input not in operator.closed:
            (self.tell_closed if silent else self.reopen)(operator.config.id, queue.input)

    def look(self, operator: Operator) -> None:
        """Ends the operator if nothing can come any more, or if a stop allows it no more calls."""
        if operator.state is not State.RUNNING or operator.task.off & RUNNING:
            return  # it is looked at again when it has been restarted, or has returned
        if operator.allowance <= 0 if operator.stopping else operator.done:
            self.end(operator)

    def end(self, operator: Operator, state: State = State.ENDED) -> None:
        """Drops it for good; its readers are told. May be called twice."""
        if operator.state.over:
            return
        self._drop(operator)
        operator.state = state
        self.live -= 1
        self.failed = self.failed or state is State.FAILED
        self._scheduler.remove(operator.task)
        operator.sender.close()
        if operator.worker is not None:
            operator.worker.end()
        if operator.stopping:
            return  # it is the node that leaves, and it may come back
        for output, way in operator.sender.ways.items():
            for reader in self._wiring.inside.get((operator.config.id, output), ()):
                self.close(*reader)
            if way.outside is not None and self.live:  # else the node leaves with its last operator
                self._finish(way.outside)

    # Making

    def _new(self, config: OperatorConfig, exchange: Exchange) -> Operator:
        wired = {name: self._wiring.inputs[config.id, name] for name in config.inputs}
        sizes = {name: (it.queue_size, it.queue_policy) for name, it in wired.items()}
        task = self._scheduler.add(config, sizes)
        self._scheduler.suspend(task)
        operator = Operator(config, task, Sender(task, exchange))
        operator.around = self._around
        operator.closable = sum(it.interval is None for it in wired.values())
        return operator

    def _connect(self) -> None:
        held_back: list[tuple[Operator, Queue]] = []
        for (id, output), name in self._wiring.names.items():
            readers = self._wiring.inside.get((id, output), ())
            queues = tuple(self.operators[to].task.queues[input] for to, input in readers)
            outside = name if name in self._wiring.outside.outputs else None
            sender = self.operators[id]
            sender.sender.ways[output] = Way(queues, outside)
            held_back += [
                (sender, queue)
                for reader, queue in zip(readers, queues, strict=True)
                if self._wiring.inputs[reader].queue_policy == "backpressure"
            ]
        self._scheduler.connect((sender.task, queue) for sender, queue in held_back)
        now = self._clock()
        for (id, output), readers in self._wiring.inside.items():
            for operator, input in readers:
                timeout = self._wiring.inputs[operator, input].timeout
                if timeout:
                    queue = self.operators[operator].task.queues[input]
                    way = self.operators[id].sender.ways[output]
                    self.silences.watch(queue, way, timeout, now)

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


def _of_input(event: Event) -> bool:
    """Whether a notice is of the input itself, and not of the node that it reads."""
    return event["type"] in ("INPUT_CLOSED", "INPUT_RECOVERED")


def _is_a(kind: str, event: Event) -> bool:
    return bool(event["type"] == kind)


def _nobody(output: str) -> None:
    """Before the node takes part, nobody reads."""
