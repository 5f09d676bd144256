"""For whom a router speaks, by histories with a clock of our own."""

from __future__ import annotations

import pytest

from dora.communication.departures import GRACE, REPEAT, Departures
from dora.communication.presence import Left
from dora.protocol.dataflow import DataflowSummary, NodeSummary


def flow(machine: str = "here", restart: str = "never") -> DataflowSummary:
    node = NodeSummary(machine=machine, reason="", outputs=("a", "op/b"), restart=restart)
    return DataflowSummary("flow", {"n": node})


ROUTES = ["n/a", "n/op/b"]


def gone(why: Left | None = None, *, alive: bool = False) -> Departures:
    """Node n was there as process p, and went at time 0."""
    departures = Departures("here", lambda process: alive)
    departures.came("n", "p")
    if why is not None:
        departures.left("n", "p", why)
    departures.went("n", "p", 0.0)
    return departures


def test_a_dead_nodes_outputs_are_closed_after_a_grace_and_again_and_again() -> None:
    """For readers who were cut off, or start later."""
    departures = gone()
    times = [0.0, GRACE - 0.1, GRACE, GRACE + 0.1, GRACE + REPEAT]
    assert [[], [], ROUTES, [], ROUTES] == [departures.speak(t, flow()) for t in times]


@pytest.mark.parametrize(
    ("departures", "dataflow"),
    [
        (gone(alive=True), flow()),
        (gone(), flow(machine="elsewhere")),
        (gone(), flow(restart="on-failure")),
        (gone(Left.STOPPED), flow()),
        (gone(Left.FAILED), flow(restart="on-failure")),
        (gone(), DataflowSummary("flow", {})),
    ],
    ids=["lives", "remote", "may come back", "was stopped", "failed", "unknown"],
)
def test_nobody_speaks_for_others(departures: Departures, dataflow: DataflowSummary) -> None:
    """A hung process, a cut link, a restart or a redeployment close nothing."""
    assert [] == departures.speak(1000.0, dataflow)


def test_a_finished_node_is_repeated_whatever_its_policy() -> None:
    """It said itself that nothing more will come."""
    assert ROUTES == gone(Left.FINISHED).speak(GRACE, flow(restart="on-failure"))


def test_a_new_process_of_the_node_ends_it() -> None:
    """Restarted or redeployed: its outputs are open."""
    departures = gone()
    departures.came("n", "q")
    assert [] == departures.speak(1000.0, flow())
    departures.went("n", "q", 1000.0)
    assert ROUTES == departures.speak(1000.0 + GRACE, flow())


def test_the_old_process_may_go_after_the_new_one_came() -> None:
    """Only the last one counts."""
    departures = Departures("here", lambda process: False)
    departures.came("n", "p")
    departures.came("n", "q")
    departures.went("n", "p", 0.0)
    assert [] == departures.speak(1000.0, flow())


def test_the_reason_may_come_late() -> None:
    """After the token went."""
    departures = gone()
    departures.left("n", "p", Left.STOPPED)
    assert [] == departures.speak(1000.0, flow())


def test_a_new_generation_starts_without_the_past() -> None:
    """Its readers must not be told that producers ended which are only about to start."""
    departures = gone()
    departures.forget()
    assert [] == departures.speak(1000.0, flow())
