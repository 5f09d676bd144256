"""How many replicas there should be: histories of loads, with a clock of our own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dora.coordinator.autoscale import Autoscaler, Load, load_of
from dora.coordinator.status import NodeStatus
from dora.dataflow.model import Autoscale
from dora.protocol.traffic import InputTraffic, Traffic

BOUNDS = Autoscale(min=1, max=4, target_queue=5, cooldown=10)


def run(scaler: Autoscaler, loads: Iterable[float | None], replicas: int, start: int = 0) -> int:
    """One look a second at queues of this length."""
    for second, queue in enumerate(loads):
        load = None if queue is None else Load(queue, 0.0)
        replicas = scaler.decide(start + second, replicas, load)
    return replicas


def test_a_burst_changes_nothing() -> None:
    """It must last."""
    assert 1 == run(Autoscaler(BOUNDS), [50, 50, 0, 50, 50, 0], 1)


def test_what_lasts_is_answered_by_a_doubling_at_most() -> None:
    """However far above the target it is."""
    assert 2 == run(Autoscaler(BOUNDS), [500] * 5, 1)
    assert 3 == run(Autoscaler(BOUNDS), [6] * 5, 2)


def test_between_two_steps_the_cooldown_passes() -> None:
    """Else it would act on what its last step has not changed yet."""
    scaler = Autoscaler(BOUNDS)
    assert 2 == run(scaler, [50] * 4, 1)
    assert 2 == run(scaler, [50] * 9, 2, start=4)
    assert 4 == run(scaler, [50] * 9, 2, start=13)


def test_it_never_leaves_its_bounds() -> None:
    """Not even when somebody else has scaled the node."""
    assert 4 == run(Autoscaler(BOUNDS), [50] * 60, 4)
    assert 1 == run(Autoscaler(BOUNDS), [0] * 60, 1)
    assert 4 == run(Autoscaler(BOUNDS), [0], 9)


def test_one_goes_at_a_time_and_late() -> None:
    """When one fewer would still have little to do, for as long as the cooldown."""
    scaler = Autoscaler(BOUNDS)
    assert 4 == run(scaler, [0.5] * 10, 4)
    assert 3 == run(scaler, [0.5] * 2, 4, start=10)
    assert 3 == run(scaler, [0.5] * 8, 3, start=12)
    assert 2 == run(scaler, [0.5] * 3, 3, start=20)


@pytest.mark.parametrize("queue", [4.0, 5.0, 5.4])
def test_about_the_target_it_stays(queue: float) -> None:
    """Neither way, for however long."""
    assert 2 == run(Autoscaler(BOUNDS), [queue] * 200, 2)


def test_a_step_down_is_not_followed_by_one_up() -> None:
    """What made it go down is far enough from what makes it go up: it cannot swing."""
    for tenths in range(1, 200):
        work = tenths / 10  # messages that wait, over all replicas
        scaler, replicas, steps = Autoscaler(BOUNDS), 4, []
        for second in range(200):
            after = scaler.decide(second, replicas, Load(work / replicas, 0.0))
            if after != replicas:
                steps.append(after - replicas)
            replicas = after
        assert all(step < 0 for step in steps)


def test_while_some_start_nothing_is_decided() -> None:
    """What was seen before does not count either."""
    assert 1 == run(Autoscaler(BOUNDS), [50, 50, 50, None, 50, 50, 50], 1)


def test_cores_may_be_the_target() -> None:
    """As the share of one that each replica uses."""
    scaler = Autoscaler(Autoscale(min=1, max=4, target_cpu=0.5))
    assert [1, 1, 1, 2] == [scaler.decide(second, 1, Load(0.0, 0.9)) for second in range(4)]


def test_the_load_is_that_of_the_average_replica() -> None:
    """None as long as one of them does not tell."""

    def row(number: int, waiting: int, state: str = "running") -> NodeStatus:
        traffic = Traffic.of({"in": InputTraffic(9, 0, waiting)}, {})
        return NodeStatus("flow", "base", f"it.{number}", state, cpu=0.5, traffic=traffic)

    assert Load(4.0, 0.5) == load_of([row(1, 8), row(2, 0)])
    assert load_of([row(1, 8), row(2, 0, "starting")]) is None
    assert load_of([]) is None
