"""How replicas of an operator share what comes, decided without a runtime around."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.protocol.config import InputConfig
from dora.protocol.runtime import OperatorConfig
from dora.runtime.group import Group
from dora.runtime.mailbox import Mailbox
from dora.runtime.operator import Operator, State
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Exchange, ReplicaSender
from dora.runtime.task import Task

CONFIG = OperatorConfig(
    id="op", kind="python", code="", inputs=("in",), replicated=True, balanced={"in": "key"}
)


class Crowd:
    """A group whose replicas work when the test says so."""

    def __init__(self, replicas: int, *, size: int = 1000, policy: str = "drop_oldest") -> None:
        self.scheduler = Scheduler("fifo")
        wired = {"in": InputConfig("a/b", "memory", size, policy)}
        self.group = Group(CONFIG, wired, self.scheduler, replicas)
        self.exchange = Exchange(self.scheduler, Mailbox())
        self.size = (size, policy)
        self.at: dict[Task, dict[str, Any]] = {}  # what each that works is at
        self.done: list[tuple[int, dict[str, Any]]] = []
        for number in range(1, replicas + 1):
            self.join(number)

    @property
    def queue(self) -> Any:
        return self.group.queues("in")[0]

    def join(self, number: int) -> None:
        task = self.scheduler.add(self.group.named(number), {"in": self.size})
        operator = Operator(
            self.group.named(number), task, ReplicaSender(task, self.exchange, number)
        )
        operator.group, operator.replica, operator.state = self.group, number, State.RUNNING
        self.group.join(operator)
        self.group.give()

    def send(self, **metadata: Any) -> None:
        self.scheduler.arrived(self.queue, {"type": "INPUT", "metadata": metadata}, 0.0)

    def begin(self) -> bool:
        task = self.scheduler.next(0.0)
        if task is not None:
            self.at[task] = task.event["metadata"]
        return task is not None

    def end(self, which: int = 0) -> None:
        if self.at:
            task = list(self.at)[which % len(self.at)]
            self.done.append((task.owner.replica, self.at.pop(task)))
            self.scheduler.finished(task, 0.0)
            self.group.give()

    def leave(self, number: int) -> None:
        """As the runtime lets one go: nothing more, and then its end."""
        member = self.group.members.get(number)
        if member is None or len(self.group.members) == 1:
            return
        if not member.leaving:
            member.leaving = True
            self.group.take_back(member)
        elif member.task not in self.at:
            member.state = State.ENDED
            self.group.part(member)
        self.group.give()

    def fail(self, number: int) -> None:
        member = self.group.members.get(number)
        if member is not None and member.task not in self.at:
            member.state = State.BACKOFF
            self.scheduler.suspend(member.task)
            self.group.take_back(member)
            self.group.give()

    def come_back(self) -> None:
        for member in self.group.members.values():
            if member.state is State.BACKOFF:
                member.state = State.RUNNING
                self.scheduler.resume(member.task)
        self.group.give()

    def finish(self) -> None:
        self.come_back()
        for member in self.group.members.values():
            member.leaving = False
        self.group.give()
        while self.begin() or self.at:
            self.end()


@given(st.data())
def test_nothing_is_lost_or_doubled_and_keys_stay_in_order(data: st.DataObject) -> None:
    """Whatever replicas do meanwhile, with several calls at once, and whenever they come, go, fail
    and come back. Messages of one key are never at two replicas at once."""
    crowd = Crowd(data.draw(st.integers(1, 4)))
    numbers = count(5)
    sent = 0
    steps = st.sampled_from(["send", "send", "begin", "end", "leave", "fail", "back", "join"])
    for step in data.draw(st.lists(steps, max_size=60)):
        if step == "send":
            crowd.send(key=data.draw(st.integers(0, 2)), number=sent)
            sent += 1
        elif step == "begin":
            crowd.begin()
            keys = [metadata["key"] for metadata in crowd.at.values()]
            assert len(keys) == len(set(keys))
        elif step == "end":
            crowd.end(data.draw(st.integers(0, 3)))
        elif step == "leave":
            crowd.leave(data.draw(st.sampled_from(list(crowd.group.members))))
        elif step == "fail":
            crowd.fail(data.draw(st.sampled_from(list(crowd.group.members))))
        elif step == "back":
            crowd.come_back()
        else:
            crowd.join(next(numbers))
    crowd.finish()

    assert sorted(it["number"] for _, it in crowd.done) == list(range(sent))
    by_key = defaultdict(list)
    for _, it in crowd.done:
        by_key[it["key"]].append(it["number"])
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_nobody_waits_behind_a_slow_replica() -> None:
    """What comes goes to one that has nothing to do, and else waits for whoever is first."""
    crowd = Crowd(3)
    for number in range(5):
        crowd.send(number=number)
    while crowd.begin():
        pass
    slow = next(iter(crowd.at))

    for _ in range(4):
        crowd.end(1)
        crowd.begin()

    assert 5 == len(crowd.done) + len(crowd.at)
    assert slow.owner.replica not in {replica for replica, _ in crowd.done}


@pytest.mark.parametrize(("replicas", "kept"), [(1, 3), (4, 12)])
def test_a_full_line_loses_its_oldest(replicas: int, kept: int) -> None:
    """`queue_size` is for each replica; what one is at, or is given, does not count."""
    crowd = Crowd(replicas, size=3)
    for number in range(100):
        crowd.send(number=number)
    crowd.finish()

    assert [*range(replicas), *range(100 - kept, 100)] == [it["number"] for _, it in crowd.done]
    assert 100 - replicas - kept == crowd.queue.dropped


def test_a_full_line_holds_its_senders_back() -> None:
    """Until it is half empty."""
    crowd = Crowd(2, size=2, policy="backpressure")
    feeder = crowd.scheduler.add(OperatorConfig(id="feeder", kind="python", code=""), {})
    crowd.scheduler.connect([(feeder, crowd.queue)])
    held = []
    for number in range(6):
        held.append(bool(feeder.off))
        crowd.send(number=number)
    crowd.begin()
    crowd.begin()
    held.append(bool(feeder.off))
    crowd.end()
    crowd.end()
    crowd.begin()
    crowd.end()
    held.append(bool(feeder.off))

    assert [False, False, False, False, False, False, True, False] == held
    assert 0 == crowd.queue.dropped
