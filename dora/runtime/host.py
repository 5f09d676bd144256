"""The loop of a runtime: brings messages to operators and calls them, one after the other.

Which operator comes next says the scheduler. All of it happens in the main thread, but for the
calls of operators that asked for a thread; `async` ones go on beside others. Node (>= 3.10).
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from dora.event import Event, addressed, copies, late_event, sent_at, stop_event
from dora.protocol.config import NETWORK
from dora.runtime.crew import Crew
from dora.runtime.mailbox import Mailbox
from dora.runtime.operator import Operator
from dora.runtime.reload import Reloads
from dora.runtime.scaling import Scaling
from dora.runtime.scheduler import Scheduler, since_of
from dora.runtime.task import Queue, Task
from dora.runtime.turns import take_turns
from dora.runtime.wiring import Port, Wiring
from dora.status import DoraStatus
from dora.stream import EventStream

logger = logging.getLogger("dora")

SLICE = 0.0005  # s of calls, after which we look at what has come from outside
AT_ONCE = 64  # events from outside, after which we look at what is to be called
GRACE = 5.0  # s for calls that still go on when everything else has stopped

_SHORT = 0.05  # s; waits below this are done with select, which knows microseconds
_SELECT_LIMIT = 1024  # select cannot take fds from here on


class Host:
    """`run` returns when all operators have ended, or after a stop. `stop_all` is called when an
    operator asks for the end of the whole dataflow, and tells whether somebody hears that. `clock`:
    monotonic seconds."""

    def __init__(
        self,
        stream: EventStream,
        wiring: Wiring,
        scheduler: Scheduler,
        crew: Crew,
        mailbox: Mailbox,
        stop_all: Callable[[str], bool],
        reloads: Reloads,
        scaling: Scaling,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._arrivals: Mapping[str, tuple[Port, ...]] = wiring.arrivals
        self._inputs = wiring.inputs
        self._scheduler = scheduler
        self._crew = crew
        self._mailbox = mailbox
        self._stop_all = stop_all
        self._reloads = reloads
        self._scaling = scaling
        self._clock = clock
        self._closures = 0
        self._beside = 0  # calls that go on in threads, or await
        self._awaited: list[tuple[Task, Awaitable[DoraStatus]]] = []
        self._stopping = False
        self._asked = inf  # until when we wait to be stopped, after an operator's STOP_ALL
        self._quiet: float | None = None  # when all had stopped but calls that go on
        self._epoll = select.epoll()
        self._epoll.register(stream.fileno(), select.EPOLLIN)
        self._epoll.register(mailbox.fileno(), select.EPOLLIN | select.EPOLLET)

    def __repr__(self) -> str:
        return f"<Host of {self._crew!r}{', stopping' if self._stopping else ''}>"

    def run(self) -> None:
        try:
            self._serve()
            if self._awaited:
                from dora.runtime import awaiting

                awaiting.serve(self)
            for operator in self._crew:
                self._crew.end(operator)
        finally:
            self._epoll.close()

    def _serve(self) -> None:
        """Until all is over, or an operator awaits something."""
        while not self._awaited:
            busy = self.turn()
            if self.is_over(busy):
                return
            if not busy:
                self._wait(self.timeout())

    def fileno(self) -> int:
        """Readable when `turn` has something to do; what is due only shows in `timeout`."""
        return self._epoll.fileno()

    def woken(self) -> None:
        """To be called when it was readable: what came by the mailbox has been noted."""
        self._epoll.poll(0)

    def turn(self) -> bool:
        """Looks once at everything there is to do; whether there may be more right now."""
        busy = self._mailbox.work()
        busy |= self._take_events()
        busy |= self._reload()
        now = self._clock()
        if self._crew.next_restart() <= now:
            self._crew.restart(now)
            busy = True
        if self._crew.silences.deadline() <= now:
            self._crew.silences.look(now)
            busy = True
        if self._crew.groups:
            if self._scaling.deadline() <= now:
                self._scaling.look(now)
            busy |= self._crew.replicas.work()
        busy |= self._call(now)
        when = self._scheduler.deadline()
        if when is not None and when <= now:
            for overrun in self._scheduler.overdue(now):
                logger.warning("%s", overrun)
        return busy

    def take_awaited(self) -> list[tuple[Task, Awaitable[DoraStatus]]]:
        """The calls that have begun to await since the last time."""
        taken, self._awaited = self._awaited, []
        return taken

    def returned(self, task: Task, status: DoraStatus | None, error: BaseException | None) -> None:
        """The end of a call that went on beside the loop."""
        self._beside -= 1
        self._finished(task, self._clock(), status, error)

    # From outside

    def _take_events(self) -> bool:
        stream = self._stream
        for number in range(AT_ONCE):
            event = stream.take()
            if event is None:
                busy = number > 0
                break
            kind = event["type"]
            if kind == "INPUT":
                self._arrive(event)
            elif kind == "STOP":
                self._stop(event)
            elif kind in ("NODE_RESTARTED", "NODE_FAILED"):
                self._crew.notices.tell_of_node(event)
            else:
                notices = self._crew.notices
                tell = notices.tell_closed if kind == "INPUT_CLOSED" else notices.reopen
                for reader in self._arrivals[event["id"]]:
                    tell(*reader)
        else:
            busy = True
        if stream.closures != self._closures:
            self._closures = stream.closures
            self._close_inputs()
        return busy

    def _arrive(self, event: Event) -> None:
        queues = self._crew.connections.targets[event["id"]]
        if len(queues) == 1:
            self._put(queues[0], addressed(event, queues[0].input))
            return
        names = [queue.input for queue in queues]
        for queue, each in zip(queues, copies(event, names), strict=True):
            self._put(queue, each)

    def _put(self, queue: Queue, event: Event) -> None:
        since = 0.0
        if queue.deadline != inf:
            now = self._clock()
            # The clocks of two machines may differ by more than any deadline.
            far = self._inputs[queue.task.owner.base, queue.input].layer in NETWORK
            since = now if far else since_of(sent_at(event), time.time_ns(), now)
        if not queue.task.owner.state.over:
            self._scheduler.arrived(queue, event, since)

    def _reload(self) -> bool:
        stream = self._stream
        while stream.reloads:
            self._reloads.ask(stream.reloads.pop(0))
        return self._reloads.work()

    def _close_inputs(self) -> None:
        """Of producers that have ended for good; those that were silent before got no event."""
        for name, readers in self._arrivals.items():
            if self._stream.is_closed(name):
                for operator, input in readers:
                    self._crew.notices.note_closed(operator, input)
                    if operator in self._crew.operators:
                        self._crew.look(self._crew.operators[operator])

    def _stop(self, event: Event) -> None:
        if self._stopping:
            return
        self._stopping = True
        for operator in list(self._crew):
            self._crew.stop(operator, event)

    # Calls

    def _call(self, now: float) -> bool:
        """Calls operators for a while; whether there was anything to call."""
        until = now + SLICE
        line = self._scheduler.line
        if line is not None:
            return take_turns(line, now, until, self._clock, self._next, self._settle, self._attend)
        busy = False
        while now < until and (over := self._next(now)) is not None:
            busy, now = True, over
        return busy

    def _next(self, now: float) -> float | None:
        """The call whose turn it is. When it was over; None if there is nothing to call."""
        scheduler = self._scheduler
        task = scheduler.next(now)
        if task is None:
            return None
        operator: Operator = task.owner
        event = task.event if not task.lateness else late_event(task.event, task.lateness)
        if operator.worker is not None:
            self._hand_over(operator, task, event)
            return now
        try:
            status: Any = operator.direct(event, operator.send)
        except (Exception, SystemExit) as error:
            now = self._clock()
            self._finished(task, now, None, error)
            return now
        now = self._clock()
        if status is DoraStatus.CONTINUE:
            overrun = scheduler.finished(task, now)
            if overrun is not None:
                logger.warning("%s", overrun)
            if operator.attention:
                self._attend(operator)
        else:
            self._settle(task, now, status, None)
        return now

    def _settle(self, task: Task, now: float, status: Any, error: BaseException | None) -> None:
        """What a call gave that was made in this thread."""
        if error is None and type(status) is not DoraStatus:
            try:
                status = task.owner.settle(status)
            except (Exception, SystemExit) as wrong:
                error = wrong
            else:
                if type(status) is not DoraStatus:
                    self._beside += 1
                    self._scheduler.goes_on(task)
                    self._awaited.append((task, status))
                    return
        self._finished(task, now, status, error)

    def _hand_over(self, operator: Operator, task: Task, event: Any) -> None:
        assert operator.worker is not None
        self._beside += 1
        self._scheduler.goes_on(task)
        call = partial(operator.on_event, event, operator.send)
        operator.worker.do(call, partial(self.returned, task))

    def _finished(
        self, task: Task, now: float, status: DoraStatus | None, error: BaseException | None
    ) -> None:
        operator: Operator = task.owner
        overrun = self._scheduler.finished(task, now)
        if overrun is not None:
            logger.warning("%s", overrun)
        if error is not None:
            self._crew.fail(operator, error)
        elif status is DoraStatus.STOP:
            self._crew.end(operator)
        elif status is DoraStatus.STOP_ALL:
            # Whoever keeps the nodes running stops all of them, us too; leaving before it has asked
            # would look like a node that is deaf.
            heard = self._stop_all(operator.config.id)
            self._asked = min(self._asked, self._clock() + (GRACE if heard else 0.0))
            operator.stopping = True
            self._crew.end(operator)
        elif operator.attention:
            self._attend(operator)

    def _attend(self, operator: Operator) -> None:
        operator.allowance -= operator.stopping
        self._crew.look(operator)

    # The end, and waiting for it

    def is_over(self, busy: bool) -> bool:
        """Whether nothing is left to do."""
        if not self._stopping and self._clock() >= self._asked:
            self._stop(stop_event("MANUAL"))
            return False
        if self._crew.live == 0:
            return self._stopping or self._asked == inf
        if not self._stopping or busy or self._awaited:
            self._quiet = None
            return False
        if self._beside == 0:
            return True
        if self._quiet is None:
            self._quiet = self._clock() + GRACE
        if self._clock() < self._quiet:
            return False
        logger.warning("leaving although %d calls have not returned", self._beside)
        return True

    def timeout(self) -> float | None:
        """Seconds until there is something to do even if nothing comes."""
        whens = (
            self._stream.deadline(),
            self._scheduler.deadline(),
            self._crew.next_restart(),
            self._crew.silences.deadline(),
            self._scaling.deadline() if self._crew.groups else inf,
            self._quiet,
            inf if self._stopping else self._asked,
        )
        when = min((it for it in whens if it is not None), default=inf)
        return None if when == inf else max(when - self._clock(), 0.0)

    def _wait(self, seconds: float | None) -> None:
        fd = self._epoll.fileno()
        if seconds is not None and seconds < _SHORT and fd < _SELECT_LIMIT:
            select.select([fd], [], [], seconds)
            self.woken()
        else:
            self._epoll.poll(seconds)
