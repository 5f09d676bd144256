"""The short way of calls: operators that stand in one line, as `scheduler: fifo` has it (>= 3.10).

Where an operator does little, each function of ours that a call goes through costs as much as it
does. So this is `Scheduler.next`, `Fifo.pop`, the call and `Scheduler.finished` in one function,
for calls of which there is nothing to tell. All others are left to those.

A turn is one call; of an operator that does little, as many as fit in `TURN`, but only while the
queues that it fills are at most half full: what it sends at once is not lost for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dora.runtime.task import RUNNING, Queue, Task
from dora.status import DoraStatus

if TYPE_CHECKING:
    from dora.runtime.operator import Operator

TURN = 20e-6  # s

# What a call gave: its status (None if it raised), and what it raised.
Settle = Callable[[Task, float, Any, BaseException | None], None]


def take_turns(
    line: deque[Task],
    now: float,
    until: float,
    clock: Callable[[], float],
    call: Callable[[float], float | None],
    settle: Settle,
    attend: Callable[[Operator], None],
) -> bool:
    """Calls those in `line` until it is empty, or `clock` has reached `until`. Whether there was
    anything to call.

    `call(now)` makes the next call, whatever it needs, and returns when it was over; None if there
    was none. `settle` gets what ended otherwise than usual; its task is running as after
    `Scheduler.next`. `attend` gets the operators that are to be looked at after each call.
    """
    usual = DoraStatus.CONTINUE
    popleft, append = line.popleft, line.append
    busy = False
    while line and now < until:
        task = popleft()
        operator: Operator = task.owner
        ready = task.ready
        queue: Queue = ready[0]
        items = queue.items
        if task.off or operator.worker is not None or queue.full or not items or items[0][0] < now:
            line.appendleft(task)
            over = call(now)
            if over is None:
                return busy
            busy, now = True, over
            continue
        busy = True
        on_event, send = operator.direct, operator.send
        task.turn = now + TURN
        while True:
            due, event = items.popleft()
            if not items:
                ready.popleft()
                queue.active = False
            elif len(ready) > 1:
                ready.rotate(-1)
                task.turn = 0.0  # another input's turn
            began = now
            try:
                status = on_event(event, send)
            except (Exception, SystemExit) as error:
                now = clock()
                _running(task, queue, due, event, began)
                settle(task, now, None, error)
                break
            now = clock()
            seconds = now - began
            if status is not usual or seconds > task.usual or now > due:
                _running(task, queue, due, event, began)
                settle(task, now, status, None)
                break
            task.runs += 1
            task.run_sum += seconds
            if (
                now < task.turn
                and items
                and items[0][0] >= now
                and not (task.off or queue.full or operator.attention)
            ):
                continue
            if ready and not task.off:
                append(task)
            else:
                task.entry = None
            if operator.attention:
                attend(operator)
            break
    return busy


def _running(task: Task, queue: Queue, due: float, event: Any, began: float) -> None:
    """As `Scheduler.next` leaves it."""
    task.entry = None
    task.off |= RUNNING
    task.event, task.queue, task.due, task.started = event, queue, due, began
