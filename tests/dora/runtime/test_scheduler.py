"""Whose turn it is, what is dropped, what is late; by histories with a clock of their own."""

from __future__ import annotations

from typing import Any

import pytest

from dora.protocol.runtime import OperatorConfig
from dora.runtime.scheduler import REPORT_EVERY, Scheduler, since_of
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


def test_the_highest_priority_is_served_first() -> None:
    """Equals take turns; whoever comes while another runs is next if it is more important."""
    scheduler = Scheduler("priority")
    low, high, other = (add(scheduler, n, priority=p) for n, p in (("l", -1), ("h", 5), ("o", -1)))
    send(scheduler, low, 1, 2)
    send(scheduler, other, 3, 4)
    task = scheduler.next(0)
    assert task is low
    send(scheduler, high, 5)
    scheduler.finished(low, 0)
    assert [("h", 5), ("o", 3), ("l", 2), ("o", 4)] == serve(scheduler)


def test_the_earliest_deadline_is_served_first() -> None:
    """By message, not by operator; what has no deadline comes last, by priority."""
    scheduler = Scheduler("edf")
    add_ = lambda name, **more: add(scheduler, name, ("a", "b"), **more)  # noqa: E731
    camera = add_("camera", deadlines={"a": 0.5, "b": 0.1})
    arm = add_("arm", deadline=0.3)
    log, map_ = add_("log"), add_("map", priority=1)
    send(scheduler, log, 1, input="a")
    send(scheduler, map_, 2, input="a")
    send(scheduler, camera, 3, input="a")
    send(scheduler, arm, 4, input="b", since=0.1)
    send(scheduler, camera, 5, input="b", since=0.2)
    send(scheduler, arm, 6, input="a", since=0.05)
    assert [5, 6, 4, 3, 2, 1] == [event for _, event in serve(scheduler)]


def test_an_old_place_in_line_is_worth_nothing() -> None:
    """A message that was replaced by a newer one does not make that more urgent."""
    scheduler = Scheduler("edf")
    first, second = add(scheduler, "first", size=1, deadline=1.0), add(scheduler, "s", deadline=1.0)
    send(scheduler, first, "old", since=0)
    send(scheduler, second, "middle", since=5)
    assert "old" == scheduler.arrived(first.queues["in"], "new", 9)
    assert ["middle", "new"] == [event for _, event in serve(scheduler)]


def test_outdated_places_are_cleared_away() -> None:
    """However often an operator moves up, the heap stays small."""
    scheduler = Scheduler("edf")
    background = add(scheduler, "background", ("slow", "quick"), deadlines={"quick": 1.0})
    urgent = add(scheduler, "urgent", deadline=0.001)
    send(scheduler, background, "never", input="slow")
    for now in range(1000):
        send(scheduler, urgent, now, since=now)
        send(scheduler, background, now, input="quick", since=now)
        assert urgent is scheduler.next(now)
        scheduler.finished(urgent, now)
        assert background is scheduler.next(now)
        scheduler.finished(background, now)
    assert len(scheduler._policy._heap) < 200  # type: ignore[attr-defined]
    assert [("background", "never")] == serve(scheduler)


@pytest.mark.parametrize(
    ("what", "calls", "skipped"), [("run", [1, 2], 0), ("skip", [2], 1), ("event", [1, 2], 0)]
)
def test_a_late_message_is_run_or_skipped_or_marked(
    what: str, calls: list[int], skipped: int
) -> None:
    """As `on_deadline_miss` says; it counts as missed in any case."""
    scheduler = Scheduler("fifo")
    task = add(scheduler, "arm", deadline=1.0, on_deadline_miss=what)
    send(scheduler, task, 1, since=0)
    send(scheduler, task, 2, since=4)
    seen, late = [], []
    while scheduler.next(3.0):
        seen.append(task.event)
        late.append(task.lateness)
        scheduler.finished(task, 3.0)
    assert (calls, skipped) == (seen, task.skipped)
    assert ([2.0, 0.0] if what == "event" else [0.0] * len(seen)) == late
    found = task.statistics()
    assert (1, 2.0, 2.0) == (found.misses, found.lateness_max, found.lateness_mean)


def test_a_call_that_ends_too_late_is_a_miss() -> None:
    """Although it began in time."""
    scheduler = Scheduler("fifo")
    task = add(scheduler, "arm", deadline=1.0)
    send(scheduler, task, 1, 2)
    serve(scheduler, now=0.5, seconds=0.4)
    found = task.statistics()
    assert (2, 1) == (found.runs, found.misses)
    assert pytest.approx(0.3) == found.lateness_max
    assert (pytest.approx(0.8), pytest.approx(0.4)) == (found.run_time, found.run_max)


def test_a_full_queue_loses_its_oldest() -> None:
    """And says which; those that are precious go last."""
    scheduler = Scheduler("fifo", precious=lambda event: event < 0)
    task = add(scheduler, "slow", size=2)
    queue = task.queues["in"]
    lost = [scheduler.arrived(queue, event, 0) for event in (-1, 2, 3, 4, -5, -6)]
    assert [None, None, 2, 3, 4, -1] == lost
    assert [("slow", -5), ("slow", -6)] == serve(scheduler)
    assert (4, 0) == (task.statistics().dropped, task.statistics().depth)


def test_notices_take_no_room_and_are_never_lost_or_late() -> None:
    """They come behind the messages before them; a later one replaces one that still waits."""
    scheduler = Scheduler("edf")
    task = add(scheduler, "slow", size=2, deadline=0.1, on_deadline_miss="skip")
    queue = task.queues["in"]
    send(scheduler, task, 1, 2, since=50)
    scheduler.tell(queue, "closed")
    assert 1 == scheduler.arrived(queue, 3, 50)
    scheduler.tell(queue, "closed again")
    assert 2 == scheduler.arrived(queue, 4, 50)
    assert [("slow", 3), ("slow", "closed again"), ("slow", 4)] == serve(scheduler, now=50)
    scheduler.tell(queue, "open")
    assert [("slow", "open")] == serve(scheduler, now=60)
    assert 0 == task.misses


def test_what_is_flushed_is_gone_uncounted() -> None:
    """Whatever the policy knew of it."""
    for policy in ("fifo", "priority", "edf"):
        scheduler = Scheduler(policy)
        task, other = add(scheduler, "task", ("a", "b")), add(scheduler, "other")
        send(scheduler, task, 1, 2, input="a")
        send(scheduler, task, 3, 4, input="b")
        send(scheduler, other, 5)
        scheduler.flush(task.queues["a"], keep=lambda event: event == 2)
        scheduler.flush(task.queues["b"])
        assert [("task", 2), ("other", 5)] == sorted(serve(scheduler), key=lambda it: it[1])
        send(scheduler, task, 6, input="b")
        assert ([("task", 6)], 0) == (serve(scheduler), task.statistics().dropped)


def test_a_long_call_elsewhere_holds_up_nobody_else() -> None:
    """While it goes on its operator gets no second one."""
    scheduler = Scheduler("fifo")
    slow, quick = add(scheduler, "slow"), add(scheduler, "quick")
    send(scheduler, slow, 1, 2)
    send(scheduler, quick, 3, 4)
    assert slow is scheduler.next(0)
    scheduler.goes_on(slow)
    assert [("quick", 3), ("quick", 4)] == serve(scheduler)
    scheduler.finished(slow, 1)
    assert [("slow", 2)] == serve(scheduler)


def test_a_suspended_operator_keeps_its_messages() -> None:
    """It is served when it is back, and the others meanwhile."""
    for policy in ("fifo", "priority", "edf"):
        scheduler = Scheduler(policy)
        broken, fine = add(scheduler, "broken"), add(scheduler, "fine")
        send(scheduler, broken, 1, 2)
        assert broken is scheduler.next(0)
        scheduler.suspend(broken)
        scheduler.finished(broken, 0)
        send(scheduler, fine, 3)
        assert [("fine", 3)] == serve(scheduler)
        scheduler.resume(broken)
        scheduler.suspend(broken)  # while it stands in line
        assert [] == serve(scheduler)
        scheduler.resume(broken)
        scheduler.resume(broken)
        assert [("broken", 2)] == serve(scheduler)


def test_a_removed_operator_is_never_called() -> None:
    """What waited is counted, what comes is lost."""
    scheduler = Scheduler("fifo")
    task = add(scheduler, "gone")
    send(scheduler, task, 1, 2)
    assert 2 == scheduler.remove(task)
    assert 3 == scheduler.arrived(task.queues["in"], 3, 0)
    assert ([], 1) == (serve(scheduler), task.statistics().dropped)


def test_an_overrun_is_told_with_the_name_but_not_each_time() -> None:
    """The next report says how many there were meanwhile."""
    scheduler = Scheduler("fifo")
    task = add(scheduler, "planner", budget=0.01, size=100)
    send(scheduler, task, *range(20))
    told = []
    for now in (0.0, 1.0, 2.0, REPORT_EVERY + 1):
        scheduler.next(now)
        told.append(scheduler.finished(task, now + 0.02))
    scheduler.next(9)
    assert scheduler.finished(task, 9.005) is None
    first, second = (it for it in told if it is not None)
    assert "operator planner: a call took 20 ms, its budget is 10 ms" == str(first)
    assert str(second).endswith("its budget is 10 ms (3 such calls since this was last said)")
    assert 4 == task.statistics().overruns


def test_a_call_that_does_not_end_is_told_while_it_goes_on() -> None:
    """And again after some time; a call within its budget, or without one, is not."""
    scheduler = Scheduler("fifo")
    stuck, free = add(scheduler, "stuck", budget=0.5), add(scheduler, "free")
    send(scheduler, stuck, 1)
    send(scheduler, free, 2)
    for _ in range(2):
        task = scheduler.next(10.0)
        assert task is not None
        scheduler.goes_on(task)
    assert (10.5, []) == (scheduler.deadline(), scheduler.overdue(10.5))
    told = scheduler.overdue(12.0)
    expected = ["operator stuck: a call has been running for 2 s, its budget is 500 ms"]
    assert expected == [str(overrun) for overrun in told]
    assert (12.0 + REPORT_EVERY, []) == (scheduler.deadline(), scheduler.overdue(13.0))
    scheduler.finished(stuck, 14.0)
    assert scheduler.deadline() is None


def test_backpressure_holds_back_the_sender() -> None:
    """It is not called while its reader's queue is full, so nothing is lost."""
    scheduler = Scheduler("fifo")
    sender = add(scheduler, "sender", size=100)
    reader = add(scheduler, "reader", size=4, policy="backpressure")
    queue = reader.queues["in"]
    scheduler.connect([(sender, queue)])
    send(scheduler, sender, *range(100))
    most, came = 0, []
    scheduler.suspend(reader)
    while scheduler.next(0) is not None:
        scheduler.arrived(queue, sender.event, 0)
        scheduler.finished(sender, 0)
    assert 4 == len(queue.items)
    scheduler.resume(reader)
    while (task := scheduler.next(0)) is not None:
        if task is sender:
            scheduler.arrived(queue, task.event, 0)
        else:
            came.append(task.event)
        most = max(most, len(queue.items))
        scheduler.finished(task, 0)
    assert (list(range(100)), 0) == (came, queue.dropped)
    assert most <= 4


def test_a_call_that_goes_on_counts_as_time_in_calls() -> None:
    """Not only once it has ended: whoever looks at a slow operator sees that it works."""
    scheduler = Scheduler()
    task = scheduler.add(
        OperatorConfig(id="op", kind="python", code=""), {"in": (3, "drop_oldest")}
    )
    scheduler.arrived(task.queues["in"], "event", 0.0)
    seen = [task.in_calls(1.0)]
    assert task is scheduler.next(2.0)
    seen += [task.in_calls(2.0), task.in_calls(5.0)]
    scheduler.finished(task, 6.0)

    assert [0.0, 0.0, 3.0, 4.0, 4.0] == [*seen, task.in_calls(6.0), task.in_calls(9.0)]


def test_an_ended_operator_holds_back_nobody() -> None:
    """What is still sent to it is thrown away."""
    scheduler = Scheduler()
    sender = scheduler.add(OperatorConfig(id="sender", kind="python", code=""), {})
    reader = scheduler.add(
        OperatorConfig(id="reader", kind="python", code=""), {"in": (3, "backpressure")}
    )
    scheduler.connect([(sender, reader.queues["in"])])
    scheduler.remove(reader)
    scheduler.arrived(reader.queues["in"], "event", 0.0)

    assert (0, 0) == (sender.off, reader.depth)


def test_backpressure_in_a_loop_holds_back_nobody() -> None:
    """All of them would wait for ever; their queues are larger instead, and still bounded."""
    scheduler = Scheduler("fifo")
    ping, pong, tail = (
        add(scheduler, name, size=1, policy="backpressure") for name in ("ping", "pong", "tail")
    )
    edges = {ping: [pong.queues["in"]], pong: [ping.queues["in"], tail.queues["in"]], tail: []}
    scheduler.connect([(task, queue) for task, queues in edges.items() for queue in queues])
    send(scheduler, ping, *range(30))
    for _ in range(1000):
        task = scheduler.next(0)
        assert task is not None
        for queue in edges[task]:
            scheduler.arrived(queue, task.event, 0)
        scheduler.finished(task, 0)
        assert len(tail.queues["in"].items) <= 1
    assert (100, 1) == (ping.queues["in"].bound, tail.queues["in"].limit + 1)


def test_an_unknown_policy_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(ValueError, match="'lifo': it is one of fifo, priority, edf"):
        Scheduler("lifo")


def test_a_timestamp_of_the_future_counts_as_now() -> None:
    """A clock that was set back makes nothing early."""
    assert 99.5 == since_of(1_000_000_000, 1_500_000_000, 100.0)
    assert 100.0 == since_of(2_000_000_000, 1_500_000_000, 100.0)
