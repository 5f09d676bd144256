"""What operators send: by reference in the runtime, else through the node. Node (>= 3.10)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any

from dora.communication.base import Kind, Message
from dora.communication.memory import is_arrow, share
from dora.event import input_event, is_precious
from dora.metadata import EPOCH, UTC, copied, normalise
from dora.runtime.mailbox import Mailbox
from dora.runtime.scheduler import Scheduler
from dora.runtime.task import Queue, Task

logger = logging.getLogger("dora")

PRECISION = 20e-6  # s, of timestamps within a runtime

# outside(output, value, metadata): as `Participation.send`; from any thread.
Outside = Callable[[str, Any, Mapping[str, Any]], None]


class Way:
    """Where one output goes. `outside`: what the node calls it, None if nobody out there reads."""

    __slots__ = ("inner", "outside", "plain", "queues", "sent", "timed")

    def __init__(self, queues: tuple[Queue, ...], outside: str | None) -> None:
        self.outside = outside
        self.inner = outside is None  # nobody out there reads, and it is open; no reader is silent
        # The class of what may take the short way: of the last Arrow array while `inner`, or None.
        self.plain: type | None = None
        self.sent = 0
        self.lead(queues)

    def lead(self, queues: tuple[Queue, ...]) -> None:
        """From now on to these queues."""
        self.queues = queues
        self.timed = any(queue.deadline != float("inf") for queue in queues)

    def shut(self) -> None:
        """The short way, until `inner` is set again."""
        self.inner = False
        self.plain = None


class Exchange:
    """Made in the main thread, which alone may touch the scheduler. `outside` is set once the node
    takes part; no operator is called before."""

    def __init__(self, scheduler: Scheduler, mailbox: Mailbox) -> None:
        self.thread = get_ident()
        self.mailbox = mailbox
        self.outside: Outside = _nowhere
        self.scheduler = scheduler
        self.line = scheduler.line
        self.push, self.crowded = scheduler.push, scheduler.crowded
        self.silent: dict[Queue, Callable[[], None]] = {}  # to be called before the next message
        # Now, as events have it: making one costs as much as scheduling a call.
        self.stamp = EPOCH
        self.stamped = 0.0  # monotonic seconds until which that will do

    def restamp(self, now: float) -> None:
        self.stamp = datetime.now(UTC)
        self.stamped = now + PRECISION

    def deliver(
        self,
        queues: tuple[Queue, ...],
        value: Callable[[], Any],
        metadata: Mapping[str, Any],
        timestamp: int,
        since: float,
    ) -> None:
        """Main thread only. Each reader gets metadata of its own, and all the same value."""
        scheduler = self.scheduler
        flush = bool(metadata) and metadata.get("flush") is True
        for queue in queues:
            if self.silent and queue in self.silent:
                self.silent.pop(queue)()
            event = input_event(queue.input, Message(Kind.DATA, timestamp, copied(metadata), value))
            if flush:
                scheduler.flush(queue, is_precious)
            scheduler.arrived(queue, event, since)


def _nowhere(output: str, value: Any, metadata: Mapping[str, Any]) -> None:
    raise RuntimeError("the runtime does not take part in its dataflow yet")


class Sender:
    """`send` is what one operator gets as its `send_output`; from any thread."""

    __slots__ = ("_closed", "_exchange", "_task", "ways")

    def __init__(self, task: Task, exchange: Exchange) -> None:
        self._task = task
        self._exchange = exchange
        self._closed = False
        self.ways: dict[str, Way] = {}  # by output; filled once all operators are there

    def __repr__(self) -> str:
        return f"<Sender of {self._task.name}: {', '.join(self.ways)}>"

    def send(self, output: str, data: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """As `Node.send_output`, for the outputs of this operator. An output that it does not have
        is dropped with a warning; so is, silently, all that it sends once it has ended."""
        exchange = self._exchange
        try:
            way = self.ways[output]
        except (KeyError, TypeError):
            self._reject(output)
            return
        # The short way, for nearly all that is sent within a runtime: nothing is called but what
        # must be, for every call in here costs as much as a call of the operator itself.
        if type(data) is way.plain and metadata is None and get_ident() == exchange.thread:
            now = monotonic()
            if now > exchange.stamped:
                exchange.restamp(now)
            line = exchange.line
            for queue in way.queues:
                event = {
                    "type": "INPUT",
                    "id": queue.input,
                    "kind": "dora",
                    "value": data,
                    "metadata": {"timestamp": exchange.stamp},
                }
                # As `Scheduler.arrived`.
                items = queue.items
                items.append((now + queue.deadline, event))
                if not queue.active:
                    task = queue.task
                    if line is None or task.off:
                        exchange.push(queue)
                    else:  # as `Fifo.push`
                        queue.active = True
                        task.ready.append(queue)
                        if task.entry is None:
                            task.entry = True
                            line.append(task)
                if len(items) > queue.half:
                    self._task.turn = 0.0
                    if len(items) > queue.limit:
                        exchange.crowded(queue)
            way.sent += 1
            return
        if self._closed:
            self._reject(output)
            return
        self._task.turn = 0.0  # nobody has looked at how full its readers' queues are
        normal = {} if metadata is None else normalise(metadata)
        try:
            if way.queues:
                value = share(data)
                timestamp = time.time_ns()
                since = time.monotonic() if way.timed else 0.0
                if get_ident() == exchange.thread:
                    way.plain = type(data) if way.inner and is_arrow(data) else None
                    exchange.deliver(way.queues, value, normal, timestamp, since)
                else:
                    exchange.mailbox.put(
                        partial(exchange.deliver, way.queues, value, normal, timestamp, since)
                    )
            if way.outside is not None:
                exchange.outside(way.outside, data, normal)
        except TypeError as error:
            raise RuntimeError(f"output {output!r}: {error}") from error
        way.sent += 1

    def close(self) -> None:
        self._closed = True
        for way in self.ways.values():
            way.shut()

    def _reject(self, output: str) -> None:
        if not isinstance(output, str):
            raise TypeError(f"output must be str, not {type(output).__name__}")
        if not self._closed:
            logger.warning(
                "dropped a message: %s/%s is not in the operator's output list (%s)",
                self._task.name,
                output,
                ", ".join(sorted(self.ways)) or "none",
            )


class ReplicaSender(Sender):
    """Of one of an operator's replicas: readers see which one it was."""

    __slots__ = ("_replica",)

    def __init__(self, task: Task, exchange: Exchange, replica: int) -> None:
        super().__init__(task, exchange)
        self._replica = replica

    def send(self, output: str, data: Any, metadata: Mapping[str, Any] | None = None) -> None:
        known = {} if metadata is None else normalise(metadata)
        super().send(output, data, {**known, "replica": self._replica})
