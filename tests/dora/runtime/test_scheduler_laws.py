"""What holds for every history of a scheduler, and that EDF meets deadlines that FIFO misses."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dora.protocol.runtime import OperatorConfig
from dora.runtime.scheduler import Scheduler
from dora.runtime.task import Queue, Task

POLICIES = ("fifo", "priority", "edf")
OPERATORS, INPUTS = 4, 3
SIZE = 3

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, OPERATORS - 1), st.integers(0, INPUTS - 1)),
        st.tuples(st.just("arrive"), st.integers(0, OPERATORS - 1), st.integers(0, INPUTS - 1)),
        st.tuples(st.just("call")),
        st.tuples(st.just("call")),
        st.tuples(st.just("finish"), st.integers(0, OPERATORS - 1)),
        st.tuples(st.just("finish"), st.integers(0, OPERATORS - 1)),
        st.tuples(st.just("suspend"), st.integers(0, OPERATORS - 1)),
        st.tuples(st.just("resume"), st.integers(0, OPERATORS - 1)),
        st.tuples(st.just("flush"), st.integers(0, OPERATORS - 1), st.integers(0, INPUTS - 1)),
    ),
    max_size=80,
)
DEADLINES = st.lists(
    st.one_of(st.none(), st.integers(1, 30)),
    min_size=OPERATORS * INPUTS,
    max_size=OPERATORS * INPUTS,
)


@dataclass
class Model:
    """What a scheduler should do, said simply: all that waits, and who is busy."""

    waiting: dict[Queue, list[int]] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    running: set[Task] = field(default_factory=set)
    suspended: set[Task] = field(default_factory=set)
    passed_over: dict[Task, int] = field(default_factory=dict)  # calls since it could be called

    def eligible(self) -> set[Task]:
        ready = {queue.task for queue, events in self.waiting.items() if events}
        return ready - self.running - self.suspended


@settings(max_examples=150)
@given(policy=st.sampled_from(POLICIES), steps=STEPS, deadlines=DEADLINES)
def test_every_history_keeps_the_promises(
    policy: str, steps: list[tuple[str, int, int]], deadlines: list[int | None]
) -> None:
    """Order kept, nothing lost but by the queues' bounds, no second call, never idle with work to
    do, the right one first, and with fifo everybody's turn comes."""
    scheduler = Scheduler(policy)
    tasks, model = _tasks(scheduler, deadlines), Model()
    model.waiting = {queue: [] for task in tasks for queue in task.queues.values()}
    for now, (step, *arguments) in enumerate(steps):
        task = tasks[arguments[0]] if arguments else None
        queue = task.queues[str(arguments[1])] if task and len(arguments) > 1 else None
        if step == "arrive":
            assert queue is not None
            lost = scheduler.arrived(queue, now, now)
            model.due[now] = now + queue.deadline
            waiting = model.waiting[queue]
            waiting.append(now)
            assert lost == (waiting.pop(0) if len(waiting) > SIZE else None)
        elif step == "call":
            _call(scheduler, model, policy, now)
        elif step == "finish" and task in model.running:
            model.running.discard(task)
            scheduler.finished(task, now)
        elif step == "suspend" and task:
            model.suspended.add(task)
            scheduler.suspend(task)
        elif step == "resume" and task:
            model.suspended.discard(task)
            scheduler.resume(task)
        elif step == "flush" and queue:
            model.waiting[queue].clear()
            scheduler.flush(queue)
    while model.eligible():
        _call(scheduler, model, policy, 1000)
        for task in list(model.running):
            scheduler.finished(task, 1000)
        model.running.clear()
    assert scheduler.next(1000) is None


def _tasks(scheduler: Scheduler, deadlines: list[int | None]) -> list[Task]:
    tasks = []
    for number in range(OPERATORS):
        mine = deadlines[number * INPUTS : (number + 1) * INPUTS]
        config = OperatorConfig(
            id=str(number),
            kind="python",
            code="op.py",
            priority=number // 2,
            deadlines={str(n): float(it) for n, it in enumerate(mine) if it is not None},
        )
        tasks.append(scheduler.add(config, {str(n): (SIZE, "drop_oldest") for n in range(INPUTS)}))
    return tasks


def _call(scheduler: Scheduler, model: Model, policy: str, now: int) -> None:
    eligible = model.eligible()
    task = scheduler.next(now)
    if task is None:
        assert set() == eligible
        return
    assert task in eligible
    queue = task.queue
    assert queue is not None
    heads = {q: events[0] for q, events in model.waiting.items() if events and q.task in eligible}
    if policy == "priority":
        assert max(it.priority for it in eligible) == task.priority
    if policy == "edf":
        assert min(model.due[event] for event in heads.values()) == model.due[task.event]
    if policy == "fifo":
        for other in eligible - {task}:
            model.passed_over[other] = model.passed_over.get(other, 0) + 1
            assert model.passed_over[other] < 2 * OPERATORS
        model.passed_over[task] = 0
    assert model.waiting[queue].pop(0) == task.event
    model.running.add(task)


@dataclass(frozen=True)
class Periodic:
    """A message every `period`, work of `cost`, due after `deadline`; all in milliseconds."""

    period: int
    cost: int
    deadline: int


def simulate(policy: str, load: list[Periodic], until: int) -> dict[str, int]:
    """Misses of each operator when calls take exactly what they cost; milliseconds."""
    scheduler = Scheduler(policy)
    tasks = []
    for number, it in enumerate(load):
        config = OperatorConfig(id=str(number), kind="python", code="", deadline=it.deadline)
        tasks.append(scheduler.add(config, {"in": (100, "drop_oldest")}))
    arrivals = [(at, n) for n, it in enumerate(load) for at in range(0, until, it.period)]
    heapq.heapify(arrivals)
    now = 0
    while True:
        while arrivals and arrivals[0][0] <= now:
            at, number = heapq.heappop(arrivals)
            scheduler.arrived(tasks[number].queues["in"], None, at)
        task = scheduler.next(now)
        if task is not None:
            now += load[int(task.name)].cost
            scheduler.finished(task, now)
        elif arrivals:
            now = arrivals[0][0]
        else:
            return {task.name: task.misses for task in tasks}


# A control loop beside slow perception: 91 % of the processor's time. No call can be interrupted,
# so a deadline must leave room for the longest call of the others.
ROBOT = [
    Periodic(period=10, cost=2, deadline=10),
    Periodic(period=20, cost=4, deadline=20),
    Periodic(period=50, cost=7, deadline=50),
    Periodic(period=100, cost=7, deadline=100),
    *[Periodic(period=200, cost=5, deadline=200)] * 12,
]


def test_edf_meets_every_deadline_of_a_load_where_fifo_misses() -> None:
    """FIFO lets the control loop wait behind all of the slow ones."""
    assert 0.9 < sum(it.cost / it.period for it in ROBOT) <= 1
    edf, fifo = (simulate(policy, ROBOT, 10_000) for policy in ("edf", "fifo"))
    assert 0 == sum(edf.values())
    assert fifo["0"] > 100


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            lambda period, share: (period, max(period * share // 100, 1)),
            st.sampled_from([20, 40, 50, 100, 200]),
            st.integers(1, 40),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_edf_meets_every_deadline_of_a_schedulable_load(pairs: list[tuple[int, int]]) -> None:
    """Schedulable without interruption: by the exact condition of Jeffay, Stanat and Martel."""
    load = [Periodic(period, cost, period) for period, cost in pairs]
    if schedulable(load):
        assert 0 == sum(simulate("edf", load, 800).values())


def schedulable(load: list[Periodic]) -> bool:
    """Deadlines equal to periods, no call interrupted; necessary and sufficient."""
    if sum(it.cost / it.period for it in load) > 1:
        return False
    load = sorted(load, key=lambda it: it.period)
    for number, long in enumerate(load):
        for span in range(load[0].period + 1, long.period):
            demand = sum((span - 1) // it.period * it.cost for it in load[:number])
            if span < long.cost + demand:
                return False
    return True


def test_the_condition_tells_loads_apart() -> None:
    """Else the property above would hold for want of loads."""
    assert schedulable([Periodic(20, 5, 20), Periodic(40, 10, 40)])
    assert not schedulable([Periodic(20, 15, 20), Periodic(200, 60, 200)])


@pytest.mark.parametrize("policy", POLICIES)
def test_ten_thousand_operators_are_all_served(policy: str) -> None:
    """Each as often as a message came, although some always have more to do."""
    scheduler = Scheduler(policy)
    tasks = [
        scheduler.add(
            OperatorConfig(
                id=str(n), kind="python", code="", deadline=n % 10 + 1.0, priority=n % 7
            ),
            {"in": (2, "drop_oldest")},
        )
        for n in range(10_000)
    ]
    for task in tasks:
        scheduler.arrived(task.queues["in"], 0, 0)
        if task.name.endswith("7"):
            scheduler.arrived(task.queues["in"], 1, 0)
    while (served := scheduler.next(0)) is not None:
        scheduler.finished(served, 0)
    assert {1: 9000, 2: 1000} == {
        runs: sum(task.runs == runs for task in tasks) for runs in {task.runs for task in tasks}
    }
