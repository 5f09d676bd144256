"""Rates and sizes for placement, from what nodes had counted at two moments."""

from __future__ import annotations

from dora.coordinator.measured import output_rates, usages
from dora.coordinator.rates import Look
from dora.coordinator.status import NodeStatus
from dora.placement.traffic import DEFAULT_BYTES, Rate
from dora.protocol.traffic import Traffic


def look(time: float, *nodes: NodeStatus) -> Look:
    return Look(time, nodes)


def camera(frames: int, size: int | None, pid: int = 7) -> NodeStatus:
    sizes = {} if size is None else {"frames": size}
    traffic = Traffic(sent=frames, outputs={"frames": frames}, sizes=sizes)
    return NodeStatus("flow", "cart", "camera", "running", pid=pid, traffic=traffic, cpu=0.3)


def test_a_rate_is_what_was_sent_between_two_looks() -> None:
    """The size is the mean of what was seen."""
    found = output_rates(look(10.0, camera(100, 2000)), look(14.0, camera(220, 4000)))
    assert {("camera", "frames"): Rate(30.0, 3000.0)} == found


def test_a_size_that_nobody_told_is_guessed() -> None:
    """By nodes of an older library."""
    found = output_rates(look(0.0, camera(0, None)), look(1.0, camera(5, None)))
    assert {("camera", "frames"): Rate(5.0, DEFAULT_BYTES)} == found


def test_a_process_that_is_another_one_has_no_rate() -> None:
    """It began counting anew."""
    assert {} == output_rates(look(0.0, camera(100, 10)), look(1.0, camera(5, 10, pid=8)))


def test_who_says_nothing_has_no_rate() -> None:
    """Nor does who never sent anything: it may not have begun yet."""
    silent = NodeStatus("flow", "cart", "camera", "running", pid=7)
    assert {} == output_rates(look(0.0, silent), look(1.0, silent))
    assert {} == output_rates(look(0.0, camera(0, 0)), look(1.0, camera(0, 0)))


def test_one_moment_is_not_enough() -> None:
    """No division by nothing."""
    assert {} == output_rates(look(1.0, camera(1, 1)), look(1.0, camera(2, 1)))


def test_usage_is_that_of_nodes() -> None:
    """A router is not placed."""
    router = NodeStatus("flow", "cart", "dora-router", "running", cpu=0.5, infrastructure=True)
    assert {"camera": 0.3} == usages(look(0.0, camera(1, 1), router))


def source(unit: str) -> str:
    return unit.partition(".")[0]


def replica(number: int, sent: int, size: int, pid: int | None = 7) -> NodeStatus:
    traffic = Traffic(sent=sent, outputs={"boxes": sent} if sent else {}, sizes={"boxes": size})
    return NodeStatus(
        "flow", "cart", f"detect.{number}", "running", pid=pid, traffic=traffic, cpu=0.25
    )


def test_a_node_sends_what_all_its_replicas_send() -> None:
    """One that has had nothing to do counts as well; the size is that of most messages."""
    before = look(0.0, replica(1, 100, 10), replica(2, 50, 40), replica(3, 0, 10))
    after = look(10.0, replica(1, 300, 10), replica(2, 150, 40), replica(3, 0, 10))
    assert {("detect", "boxes"): Rate(30.0, 20.0)} == output_rates(before, after, source)
    assert {"detect": 0.75} == usages(after, source)


def test_a_replica_of_which_nothing_is_known_is_like_the_others() -> None:
    """It was started anew meanwhile; one that does not run counts for nothing."""
    before = look(0.0, replica(1, 100, 10), replica(2, 500, 10), replica(3, 0, 10, None))
    after = look(10.0, replica(1, 300, 10), replica(2, 5, 10, pid=8), replica(3, 0, 10, None))
    assert {("detect", "boxes"): Rate(40.0, 10.0)} == output_rates(before, after, source)
