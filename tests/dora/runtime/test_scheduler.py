"""Whose turn it is, what is dropped, what is late; by histories with a clock of their own."""

from __future__ import annotations

from typing import Any

import pytest

from dora.protocol.runtime import OperatorConfig
from dora.runtime.scheduler import Scheduler, since_of
from dora.runtime.task import Task

DROP = "drop_oldest"


def add(
    scheduler: Scheduler, name: str, inputs: tuple[str, ...] = ("in",), size: int = 10, **more: Any
) -> Task:
    policy = more.pop("policy", DROP)
    config = OperatorConfig(id=name, kind="python", code="op.py", inputs=inputs, **more)
    return scheduler.add(config, dict.fromkeys(inputs, (size, policy)))


def send(
    scheduler: Scheduler, task: Task, *events: Any, input: str = "in", since: float = 0
) -> None:
    for event in events:
        scheduler.arrived(task.queues[input], event, since)


def serve(scheduler: Scheduler, now: float = 0, seconds: float = 0) -> list[Any]:
    """Calls one after the other until there is none; (operator, event) of each."""
    calls = []
    while (task := scheduler.next(now)) is not None:
        calls.append((task.name, task.event))
        now += seconds
        scheduler.finished(task, now)
    return calls


def test_operators_and_inputs_take_turns() -> None:
    """An operator with many inputs or much to do gets no more calls than another."""
    scheduler = Scheduler("fifo")
    busy = add(scheduler, "busy", ("a", "b"))
    calm = add(scheduler, "calm")
    send(scheduler, busy, 1, 2, 3, input="a")
    send(scheduler, busy, 4, input="b")
    send(scheduler, calm, 5, 6)
    assert [("busy", 1), ("calm", 5), ("busy", 4), ("calm", 6), ("busy", 2), ("busy", 3)] == serve(
        scheduler
    )


def test_an_unknown_policy_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(ValueError, match="'lifo': it is one of fifo, priority, edf"):
        Scheduler("lifo")


def test_a_timestamp_of_the_future_counts_as_now() -> None:
    """A clock that was set back makes nothing early."""
    assert 99.5 == since_of(1_000_000_000, 1_500_000_000, 100.0)
    assert 100.0 == since_of(2_000_000_000, 1_500_000_000, 100.0)
