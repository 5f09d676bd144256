"""What a machine does not let nodes have is told before they run without it."""

from __future__ import annotations

from dataclasses import replace

from dora.compile.scheduling import not_allowed
from dora.dataflow.model import Deploy, Mark, Node, Realtime
from tests.dora.compile.test_dataplane import facts

MARK = Mark("flow.yml", 1, 1)
FACTS = replace(facts("base"), user="robot", cores=(0, 1), taskset=True)


def node(deploy: Deploy, affinity: tuple[int, ...] = ()) -> Node:
    return Node(id="arm", mark=MARK, deploy=deploy, cpu_affinity=affinity)


def told(one: Node, limit: tuple[int, ...] | None = None, **changes: object) -> list[str]:
    found = replace(FACTS, **changes)  # type: ignore[arg-type]
    return list(not_allowed("base", found, limit, [one]))


def test_what_is_allowed_is_not_spoken_of() -> None:
    """Nor what nobody asks for."""
    asking = node(Deploy(realtime=Realtime("fifo", 50), nice=-5, cores=1))

    assert [] == told(asking, realtime=50, nice=-5)
    assert [] == told(node(Deploy(nice=5)), (0, 1))


def test_a_priority_that_is_not_allowed_is_told_with_its_remedy() -> None:
    """Where none is, and where lower ones are."""
    asking = node(Deploy(realtime=Realtime("rr", 50)))
    (none,), (low,) = told(asking), told(asking, realtime=10)

    assert none.startswith(
        "arm asks for real-time priority 50, and base allows none to robot: it will run as any "
        "other. Put `robot - rtprio 99` into "
    )
    assert "and base allows priorities up to 10 to robot" in low


def test_a_nice_value_that_is_not_allowed_is_told_with_its_remedy() -> None:
    """To be nicer than others is always allowed."""
    (found,) = told(node(Deploy(nice=-5)))

    assert found.startswith("arm asks for nice -5, and base allows 0 at least to robot: it will")
    assert "Put `robot - nice -20` into " in found


def test_pinning_without_taskset_and_cores_that_are_not_there_are_told() -> None:
    """Of a node that is to be pinned, and of the inventory."""
    assert ["arm is to be pinned, and base has no taskset: it cannot start there"] == told(
        node(Deploy(), affinity=(1,)), taskset=False
    )
    assert ["base has no cores 2, 9, which the inventory names: the others are used"] == told(
        node(Deploy()), (1, 2, 9)
    )
