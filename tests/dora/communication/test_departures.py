"""For whom a router speaks, by histories with a clock of our own."""

from __future__ import annotations

import pytest

from dora.communication.base import Kind
from dora.communication.departures import GRACE, REPEAT, Departures, Word
from dora.communication.header import WITHOUT_A_WORD
from dora.communication.presence import Left
from dora.protocol.comeback import ALWAYS, NEVER
from dora.protocol.dataflow import DataflowSummary, NodeSummary


def flow(machine: str = "here", restart: str = "never") -> DataflowSummary:
    node = NodeSummary(machine=machine, reason="", outputs=("a", "op/b"), restart=restart)
    return DataflowSummary("flow", {"n": node})


OUTPUTS = ["n/a", "n/op/b"]
CLOSED = [Word(output, Kind.CLOSED, "p") for output in OUTPUTS]
RESTARTED = [Word(output, Kind.RESTARTED, "p") for output in OUTPUTS]


def failed(process: str = "p", error: str = WITHOUT_A_WORD) -> list[Word]:
    kinds = (Kind.FAILED, Kind.CLOSED)
    return [Word(output, kind, process, error) for output in OUTPUTS for kind in kinds]


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
    assert [[], [], failed(), [], failed()] == [departures.speak(t, flow()) for t in times]


@pytest.mark.parametrize(
    ("departures", "dataflow"),
    [
        (gone(alive=True), flow()),
        (gone(), flow(machine="elsewhere")),
        (gone(Left.STOPPED), flow()),
        (gone(), DataflowSummary("flow", {})),
    ],
    ids=["lives", "remote", "was stopped", "unknown"],
)
def test_nobody_speaks_for_others(departures: Departures, dataflow: DataflowSummary) -> None:
    """A hung process, a cut link or a redeployment close nothing."""
    assert [] == departures.speak(1000.0, dataflow)


def test_a_finished_node_is_repeated_whatever_its_policy() -> None:
    """It said itself that nothing more will come."""
    assert CLOSED == gone(Left.FINISHED).speak(GRACE, flow(restart="on-failure"))


def test_a_new_process_of_the_node_ends_it() -> None:
    """Restarted or redeployed: its outputs are open."""
    departures = gone()
    departures.came("n", "q")
    assert [] == departures.speak(1000.0, flow())
    departures.went("n", "q", 1000.0)
    assert failed("q") == departures.speak(1000.0 + GRACE, flow())


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


@pytest.mark.parametrize("why", [None, Left.FAILED], ids=["killed", "failed"])
def test_that_a_node_comes_back_is_said_at_once_and_once(why: Left | None) -> None:
    """And nothing is closed."""
    departures = gone(why)
    said = [departures.speak(t, flow(restart="on-failure")) for t in (0.0, 1.0, 1000.0)]
    assert [RESTARTED, [], []] == said


def test_a_node_that_is_back_already_has_still_died() -> None:
    """The router may have been busy meanwhile."""
    departures = gone()
    departures.came("n", "q")
    assert RESTARTED == departures.speak(0.0, flow(restart="always"))


def test_a_link_that_was_cut_is_no_death() -> None:
    """The same process is there again."""
    departures = gone(alive=True)
    assert departures.undecided(0.0)
    assert not departures.undecided(GRACE)
    departures.came("n", "p")
    assert not departures.undecided(0.0)
    assert [] == departures.speak(0.0, flow(restart="always"))


@pytest.mark.parametrize(
    ("returns", "expected"),
    [(NEVER, []), (20 * 10**9, []), (5 * 10**9, RESTARTED), (ALWAYS, RESTARTED)],
    ids=["used up", "too young", "old enough", "always"],
)
def test_a_node_whose_restarts_are_used_up_has_failed(returns: int, expected: list[Word]) -> None:
    """Unless it has lived for so long that they count anew; as its token says."""
    departures = Departures("here", lambda process: False)
    departures.came("n", "p", returns)
    departures.went("n", "p", 10.0)
    assert expected == departures.speak(10.0, flow(restart="on-failure"))
    over = departures.speak(10.0 + GRACE, flow(restart="on-failure"))
    assert ([] if expected else failed()) == over


def test_a_failure_is_passed_on_in_its_own_words() -> None:
    """That of the node's exception."""
    departures = Departures("here", lambda process: True)
    departures.came("n", "p", NEVER)
    departures.left("n", "p", Left.FAILED, "ValueError: no map")
    departures.went("n", "p", 0.0)
    assert failed(error="ValueError: no map") == departures.speak(GRACE, flow())


def test_a_node_that_left_its_router_and_came_back_may_still_die() -> None:
    """For a while none of its edges went through it: that was not the end of its process."""
    departures = gone(Left.STOPPED)
    departures.came("n", "p")
    departures.went("n", "p", 10.0)
    assert failed() == departures.speak(10.0 + GRACE, flow())
