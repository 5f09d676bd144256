"""Rates from what nodes said at several moments."""

from __future__ import annotations

from dataclasses import replace

from dora.coordinator.rates import History, Look, Row
from dora.coordinator.status import NodeStatus
from dora.protocol.traffic import OperatorTraffic, Traffic

NODE = NodeStatus("flow", "base", "camera", "running", pid=1)
OPERATOR = OperatorTraffic("running", 0, 100, 100, 2, 1, 3, 0, 4, 500, 2_000, 1_000_000, 30_000)


def looked(*looks: tuple[float, NodeStatus], operators: bool = False) -> list[Row]:
    history = History(window=10.0)
    for time, node in looks:
        history.add(Look(time, (node,)))
    return history.rows(operators=operators)


def test_rates_are_means_over_the_window() -> None:
    """Of the newest look against the oldest within the window; older ones are forgotten."""
    looks = [
        (float(second), replace(NODE, traffic=Traffic(received=second**2, sent=10 * second)))
        for second in range(0, 30, 2)
    ]
    (row,) = looked(*looks)
    assert (28**2 - 18**2) / 10 == row.received
    assert 10.0 == row.sent
    assert 0.0 == row.drops


def test_one_look_has_no_rates() -> None:
    """Counts are there at once."""
    (row,) = looked((0.0, replace(NODE, traffic=Traffic(5, 6, 7))))
    assert (None, None, None, 7) == (row.received, row.sent, row.drops, row.dropped)


def test_a_new_process_begins_anew() -> None:
    """Its counts are not compared with those of the one before."""
    before = replace(NODE, traffic=Traffic(received=1000))
    after = replace(NODE, pid=2, traffic=Traffic(received=10))
    (row,) = looked((0.0, before), (2.0, after))
    assert row.received is None
    (row,) = looked((0.0, before), (2.0, after), (4.0, replace(after, traffic=Traffic(30))))
    assert 10.0 == row.received


def test_a_program_that_says_nothing_has_a_row() -> None:
    """As one does whose machine is away."""
    (row,) = looked((0.0, NODE), (2.0, replace(NODE, state="unknown", pid=None)))
    assert ("unknown", None, None) == (row.state, row.received, row.dropped)


def test_operators_have_rows_of_their_own_if_asked_for() -> None:
    """With what their scheduler counted: times in seconds, shares of one core."""
    traffic = Traffic(operators={"track": OPERATOR})
    later = replace(OPERATOR, received=150, run_time=2_000_000)
    looks = [
        (0.0, replace(NODE, traffic=traffic)),
        (5.0, replace(NODE, traffic=Traffic(operators={"track": later}))),
    ]
    assert 1 == len(looked(*looks))
    node, row = looked(*looks, operators=True)
    assert 2 == node.misses
    assert ("camera", "track", "running") == (row.node, row.operator, row.state)
    assert (10.0, 0.2, 0.03) == (row.received, row.busy, row.longest)
    assert (4, 2, 0.002, 3) == (row.depth, row.misses, row.lateness, row.dropped)
