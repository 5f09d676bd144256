"""When machines count as lost and nodes are placed anew: histories with a clock of their own."""

from __future__ import annotations

from collections.abc import Collection

from dora.coordinator.failover import LONGEST_RETRY, RESTARTS, RETRY, WINDOW, Failover

GRACE = 30.0
BOTH = frozenset({"base", "rover"})


class History:
    """Two machines that are heard each second; `detector` may move, and is on the rover."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failover = Failover(dict.fromkeys(BOTH, GRACE), self.now)
        self.deployed(BOTH, "rover")

    def deployed(self, present: Collection[str], where: str) -> None:
        self.failover.began(present)
        self.failover.follow({"detector": where})
        self.failover.ended(present, self.now)

    def wait(self, seconds: float, *heard: str) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            for machine in heard:
                self.failover.heard(machine, self.now)

    def decide(self) -> tuple[str, ...] | None:
        found = self.failover.decide(self.now, lambda moment: f"{moment:.0f}")
        return None if found is None else found.reasons

    def told(self, state: str, restarts: int = 0, on: str = "rover", why: str = "it broke") -> None:
        self.failover.told(on, "detector", state, restarts, why, self.now)

    @property
    def bars(self) -> dict[str, dict[str, str]]:
        return {node: dict(its) for node, its in self.failover.bars.items()}

    @property
    def renewed(self) -> set[str]:
        return {machine for machine in BOTH if self.failover.renews(machine)}


def test_nothing_is_done_while_all_are_heard() -> None:
    """Nor for a link that is lost for less than the grace time; it needs no deployment after."""
    history = History()
    history.wait(100, *BOTH)
    assert None is history.decide()
    history.wait(GRACE - 1, "base")
    assert None is history.decide()
    history.wait(100, *BOTH)
    assert (None, BOTH) == (history.decide(), history.renewed)


def test_a_machine_that_is_lost_loses_what_may_move() -> None:
    """Its leases are renewed no more from the moment of the decision, even if it is heard again;
    until it has carried out a deployment."""
    history = History()
    history.wait(10, *BOTH)
    history.wait(GRACE, "base")
    assert ("rover was not heard for 30 s; it had detector",) == history.decide()
    assert {"detector": {"rover": "lost since 10"}} == history.bars
    assert {"base"} == history.renewed
    history.deployed({"base"}, "base")
    history.wait(100, "base")
    assert None is history.decide()

    history.wait(5, *BOTH)
    assert (("rover is back",), {"base"}) == (history.decide(), history.renewed)
    assert {} == history.bars
    history.deployed(BOTH, "base")
    history.wait(5, *BOTH)
    assert (None, BOTH) == (history.decide(), history.renewed)


def test_one_that_returns_while_nodes_are_moved_from_it_is_told_afterwards() -> None:
    """It was heard, and must not go on with what is being started elsewhere."""
    history = History()
    history.wait(GRACE, "base")
    assert history.decide()
    history.failover.began({"base"})
    history.wait(3, *BOTH)
    assert (None, {"base"}) == (history.decide(), history.renewed)
    history.failover.follow({"detector": "base"})
    history.failover.ended({"base"}, history.now)
    assert (("rover is back",), {"base"}) == (history.decide(), history.renewed)


def test_a_machine_that_missed_a_deployment_is_told_before_its_leases_are_renewed() -> None:
    """It may have nodes that are elsewhere by now."""
    history = History()
    history.wait(5, "base")
    history.deployed({"base"}, "rover")
    assert {"base"} == history.renewed
    history.wait(1, *BOTH)
    assert ("rover has missed a deployment",) == history.decide()


def test_before_the_first_deployment_no_lease_is_renewed() -> None:
    """A coordinator that is started anew does not know what was moved before."""
    failover = Failover({"base": GRACE}, 0.0)
    failover.follow({"detector": "base"})
    failover.heard("base", 1.0)
    assert not failover.renews("base")


def test_a_machine_that_was_never_heard_is_lost_after_its_grace_time() -> None:
    """Another coordinator may have renewed its leases until a moment ago."""
    failover = Failover(dict.fromkeys(BOTH, GRACE), 0.0)
    failover.began({"base"})
    failover.follow({"detector": "rover"})
    failover.ended({"base"}, 0.0)
    failover.heard("base", GRACE - 1)
    assert None is failover.decide(GRACE - 1, str)
    assert None is not failover.decide(GRACE, str)


def test_a_long_deployment_loses_nobody() -> None:
    """Who deploys renews leases as well: the grace time begins anew when that is over."""
    history = History()
    history.failover.began(BOTH)
    history.now += 10 * GRACE
    assert None is history.decide()
    history.failover.broke_off(history.now)
    history.wait(GRACE - 1)
    assert None is history.decide()
    history.wait(1)
    assert history.decide()


def test_without_nodes_that_may_move_nothing_is_done() -> None:
    """However long machines are away."""
    history = History()
    history.failover.follow({})
    history.wait(1000)
    assert None is history.decide()


def test_where_another_coordinator_keeps_the_leases_nothing_is_moved() -> None:
    """Of no machine, until it is gone."""
    history = History()
    history.failover.contested("base", "ann@laptop", history.now)
    history.wait(GRACE * 2)
    assert None is history.decide()
    history.wait(1, "base")
    assert history.decide()


def test_what_cannot_be_done_is_tried_again_later_and_later() -> None:
    """With the same reason; once it is done, nothing is left of that."""
    history = History()
    history.wait(GRACE, "base")
    pauses = []
    for _ in range(6):
        assert ("rover was not heard for 30 s; it had detector",) == history.decide()
        history.failover.began({"base"})
        pause = history.failover.put_off(history.now)
        assert pause is not None
        pauses.append(pause)
        history.wait(pause - 1, "base")
        assert None is history.decide()
        history.wait(1, "base")
    assert [RETRY, 2 * RETRY, 4 * RETRY, 8 * RETRY, LONGEST_RETRY, LONGEST_RETRY] == pauses
    history.deployed({"base"}, "base")
    assert None is history.decide()
    assert None is history.failover.put_off(history.now)


def test_a_node_that_failed_is_tried_elsewhere_once_each() -> None:
    """Both machines have failed it: that is all; a saved file gives it another chance."""
    history = History()
    history.told("running")
    assert None is history.decide()
    history.told("failed")
    assert ("detector keeps failing on rover: it broke",) == history.decide()
    assert {"detector": {"rover": "it broke"}} == history.bars
    history.deployed(BOTH, "base")
    history.told("failed", on="base", why="here, too")
    assert ("detector keeps failing on base: here, too",) == history.decide()
    assert {"detector": {"rover": "it broke", "base": "here, too"}} == history.bars
    history.deployed(BOTH, "base")
    history.told("running", on="base")
    history.told("failed", on="base")
    assert None is history.decide()
    history.failover.forgive()
    assert {} == history.bars


def test_many_restarts_in_a_window_are_as_bad_as_giving_up() -> None:
    """Few, or spread over more time, are not; what ran before the first look does not count."""
    history = History()
    for count in range(100, 100 + 4 * RESTARTS):
        history.told("running", restarts=count)
        history.wait(WINDOW / (RESTARTS - 1), *BOTH)
    assert None is history.decide()
    for count in range(200, 200 + RESTARTS):
        history.told("backoff", restarts=count)
    reasons = history.decide()
    assert reasons is not None
    assert "times in 60 s; it broke" in reasons[0]


def test_one_that_does_not_become_healthy_elsewhere_is_tried_further() -> None:
    """If it had to leave; a node that is new or was changed goes back as any other."""
    history = History()
    assert not history.failover.unhealthy("base", "detector", "no camera", history.now)
    history.told("failed")
    assert history.decide()
    history.failover.began(BOTH)
    assert RETRY == history.failover.put_off(history.now)
    assert history.failover.unhealthy("base", "detector", "no camera", history.now)
    assert {"detector": {"rover": "it broke", "base": "no camera"}} == history.bars
    reasons = history.decide()
    assert reasons is not None
    assert "detector does not become healthy on base: no camera" in reasons


def test_what_nodes_say_on_machines_that_they_left_does_not_count() -> None:
    """Nor what others say, nor machines that are not watched."""
    history = History()
    history.told("failed", on="base")
    history.told("failed", on="elsewhere")
    history.failover.told("rover", "camera", "failed", 0, "no lens", history.now)
    assert None is history.decide()


def test_a_node_that_somebody_else_moved_is_watched_where_it_runs() -> None:
    """A rollback, or a deployment from another laptop: what counts is what machines tell."""
    history = History()
    history.wait(5, *BOTH)
    history.told("running", on="base")
    assert {"detector": "base"} == history.failover.places
    history.wait(GRACE + 1, "base")
    assert None is history.decide()
    history.wait(5, *BOTH)
    history.deployed(BOTH, "base")
    history.told("running", on="rover")
    history.wait(GRACE + 1, "base")
    assert ("rover was not heard for 30 s; it had detector",) == history.decide()
    assert {"detector"} == set(history.bars)


def test_a_machine_that_has_missed_a_deployment_does_not_say_where_nodes_are() -> None:
    """What it runs it is about to give up; nor does one on which a node is tried just now."""
    history = History()
    history.deployed({"base"}, "base")
    history.told("running", on="rover")
    assert {"detector": "base"} == history.failover.places
    history.deployed(BOTH, "base")
    history.failover.began(BOTH)
    history.told("running", on="rover")
    assert {"detector": "base"} == history.failover.places
    history.failover.ended(BOTH, history.now)
    history.told("stopped", on="rover")
    assert {"detector": "base"} == history.failover.places
