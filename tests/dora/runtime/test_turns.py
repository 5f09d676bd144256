"""Calls on the short way are those that the scheduler alone would have made, only more at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dora.protocol.runtime import OperatorConfig
from dora.runtime.mailbox import Mailbox
from dora.runtime.operator import Operator
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Exchange, Sender, Way
from dora.runtime.task import RUNNING, SUSPENDED, Task
from dora.runtime.turns import TURN, take_turns
from dora.status import DoraStatus

Answer = Callable[[Any, Any], Any]
STEP = TURN / 5  # s that a call takes


class Line:
    """Operators in a row, each of which feeds the next; a clock that only calls advance."""

    def __init__(self, sizes: list[int], policy: str = "drop_oldest") -> None:
        self.now = 1.0
        self.scheduler = Scheduler()
        self.exchange = Exchange(self.scheduler, Mailbox())
        self.calls: list[tuple[str, int]] = []
        self.settled: list[tuple[str, object]] = []
        self.attended: list[str] = []
        self.operators: list[Operator] = []
        for number, size in enumerate(sizes):
            config = OperatorConfig(str(number), "python", "none.py")
            task = self.scheduler.add(config, {"in": (size, policy), "other": (size, policy)})
            operator = Operator(config, task, Sender(task, self.exchange))
            operator.direct = self.answer(operator, forward)
            self.operators.append(operator)
        for operator, following in zip(self.operators, self.operators[1:], strict=False):
            operator.sender.ways["out"] = Way((following.task.queues["in"],), None)
        self.operators[-1].sender.ways["out"] = Way((), None)
        self.scheduler.connect(
            (operator.task, following.task.queues["in"])
            for operator, following in zip(self.operators, self.operators[1:], strict=False)
            if policy == "backpressure"
        )

    def answer(self, operator: Operator, answer: Answer) -> Any:
        def on_event(event: Any, send: Any) -> Any:
            self.now += STEP
            self.calls.append((operator.config.id, event["value"][0].as_py()))
            return answer(event, send)

        return on_event

    def arrive(self, operator: int, value: int, input: str = "in") -> None:
        queue = self.operators[operator].task.queues[input]
        event = {"type": "INPUT", "id": input, "value": pa.array([value])}
        self.scheduler.arrived(queue, event, self.now)

    def run(self, seconds: float = 1.0) -> bool:
        line = self.scheduler.line
        assert line is not None
        until = self.now + seconds
        return take_turns(line, self.now, until, self.clock, self.call, self.settle, self.attend)

    def clock(self) -> float:
        return self.now

    def call(self, now: float) -> float | None:
        task = self.scheduler.next(now)
        if task is None:
            return None
        self.settle(task, self.now, task.owner.direct(task.event, task.owner.send), None)
        return self.now

    def settle(self, task: Task, now: float, status: Any, error: BaseException | None) -> None:
        assert task.off & RUNNING
        if error is not None or status is not DoraStatus.CONTINUE:
            self.settled.append((task.name, error or status))
        self.scheduler.finished(task, now)

    def attend(self, operator: Operator) -> None:
        self.attended.append(operator.config.id)

    def seen(self, operator: int) -> list[int]:
        return [value for name, value in self.calls if name == str(operator)]

    @property
    def dropped(self) -> int:
        queues = (queue for it in self.operators for queue in it.task.queues.values())
        return sum(queue.dropped for queue in queues)


def forward(event: Any, send: Any) -> DoraStatus:
    send("out", event["value"])
    return DoraStatus.CONTINUE


def quiet(event: Any, send: Any) -> DoraStatus:
    return DoraStatus.CONTINUE


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    first=st.integers(1, 60),
    policy=st.sampled_from(("drop_oldest", "backpressure")),
)
def test_a_burst_loses_nothing_on_its_way_through_small_queues(
    sizes: list[int], first: int, policy: str
) -> None:
    """As with one call a turn: whatever the queues hold, each operator sees all, in order."""
    line = Line([first, *sizes], policy)
    for value in range(first):
        line.arrive(0, value)

    assert line.run()

    for operator in range(len(line.operators)):
        assert list(range(first)) == line.seen(operator)
        assert first == line.operators[operator].task.statistics().runs
    assert 0 == line.dropped
    assert not line.run()


def test_who_has_much_to_do_keeps_others_waiting_for_one_turn_only() -> None:
    """Calls of 4 us, turns of 20 us: after five of its calls it is another's turn."""
    line = Line([100])
    line.operators[0].direct = line.answer(line.operators[0], quiet)
    config = OperatorConfig("other", "python", "none.py")
    task = line.scheduler.add(config, {"in": (100, "drop_oldest")})
    second = Operator(config, task, Sender(task, line.exchange))
    second.direct = line.answer(second, quiet)
    for value in range(60):
        line.arrive(0, value)
    for value in range(3):
        line.scheduler.arrived(task.queues["in"], {"value": pa.array([value])}, line.now)

    line.run()

    # The first call of each is settled by the scheduler: there is no usual time before it.
    names = [name for name, _ in line.calls]
    last = max(n for n, name in enumerate(names) if name == "other")
    assert last <= 3 + 2 * 6
    assert {"0": 60, "other": 3} == Counter(names)


def test_inputs_of_one_operator_take_turns() -> None:
    """However much waits at one of them."""
    line = Line([100])
    for value in range(20):
        line.arrive(0, value)
    for value in range(100, 103):
        line.arrive(0, value, "other")

    line.run()

    assert [0, 100, 1, 101, 2, 102, 3] == line.seen(0)[:7]
    assert 23 == len(line.calls)


def test_the_slice_ends_a_burst_of_turns() -> None:
    """What has come from outside is looked at in time; the rest goes on afterwards."""
    line = Line([100])
    for value in range(100):
        line.arrive(0, value)

    assert line.run(seconds=10 * STEP)
    assert 10 <= len(line.calls) <= 16
    assert line.run()
    assert list(range(100)) == line.seen(0)


def test_what_ends_otherwise_is_settled_and_does_not_stop_the_others() -> None:
    """An exception, a STOP and something that is no status, each in the midst of a backlog."""
    line = Line([100, 100])
    wrong = ValueError("3 is too much")

    def moody(event: Any, send: Any) -> Any:
        value = event["value"][0].as_py()
        if value == 3:
            raise wrong
        if value == 5:
            return DoraStatus.STOP
        if value == 7:
            return "no status"
        return forward(event, send)

    line.operators[0].direct = line.answer(line.operators[0], moody)
    for value in range(10):
        line.arrive(0, value)

    line.run()

    assert [("0", wrong), ("0", DoraStatus.STOP), ("0", "no status")] == line.settled
    assert list(range(10)) == line.seen(0)
    assert [0, 1, 2, 4, 6, 8, 9] == line.seen(1)


def test_a_suspended_operator_is_not_called_and_goes_on_where_it_was() -> None:
    """Also when it is suspended by what it does itself."""
    line = Line([100])
    task = line.operators[0].task

    def tired(event: Any, send: Any) -> DoraStatus:
        if event["value"][0].as_py() == 4:
            line.scheduler.suspend(task)
        return DoraStatus.CONTINUE

    line.operators[0].direct = line.answer(line.operators[0], tired)
    for value in range(10):
        line.arrive(0, value)

    line.run()
    assert [0, 1, 2, 3, 4] == line.seen(0)
    assert SUSPENDED == task.off
    line.scheduler.resume(task)
    line.run()
    assert list(range(10)) == line.seen(0)


def test_an_operator_with_something_pending_is_looked_at_after_each_call() -> None:
    """An input of its has closed, or the runtime stops."""
    line = Line([100])
    for value in range(5):
        line.arrive(0, value)
    line.run()
    assert [] == line.attended
    line.operators[0].attention = True
    for value in range(5):
        line.arrive(0, value)

    line.run()

    assert ["0"] * 5 == line.attended


def test_late_messages_are_left_to_the_scheduler() -> None:
    """It skips them, or tells how late they are."""
    line = Line([100])
    config = OperatorConfig(
        "late", "python", "none.py", deadline=3.5 * STEP, on_deadline_miss="skip"
    )
    task = line.scheduler.add(config, {"in": (100, "drop_oldest")})
    operator = Operator(config, task, Sender(task, line.exchange))
    operator.direct = line.answer(operator, quiet)
    for value in range(10):
        line.scheduler.arrived(task.queues["in"], {"value": pa.array([value])}, line.now)

    line.run()

    assert [("late", value) for value in range(4)] == line.calls
    assert (4, 7, 6) == (task.runs, task.misses, task.skipped)
