"""The state machine: histories of events in, lists of actions out; no process, no clock."""

from __future__ import annotations

from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.supervisor.state import Units
from deploy.unit import RestartPolicy, StopPolicy
from tests.deploy.supervisor.history import ALWAYS, CRASH, FINE, History, key, unit


def test_a_deployment_that_has_done_its_work_ends_and_stays_so() -> None:
    """Whatever the restart policies say; who was killed for being deaf has failed. A new supervisor
    keeps to it; a restart that somebody asks for is one."""
    history = History(
        unit("a", restart=ALWAYS), unit("b", restart=ALWAYS), unit("c", restart=ALWAYS)
    )
    history.exited("c", CRASH)
    history.wait(1)
    history.exited("c", CRASH)
    history.take()
    history.perform(history.units.finish("flow", history.now))
    assert ["ask a", "ask b"] == history.take()
    assert ["stopping", "stopping", "ended"] == [history.slot(it).state.value for it in "abc"]
    kept = Slot.from_json(history.slot("a").to_json())
    assert kept.done
    history.exited("a")
    history.exited("b", Exit(signal="SIGKILL"))
    history.wait(100)
    assert ["ended", "failed"] == [history.slot(it).state.value for it in "ab"]
    assert [] == history.take()
    history.activate(unit("a", restart=ALWAYS), unit("b"), unit("c", restart=ALWAYS))
    assert ["spawn b"] == history.take()  # it failed, and is other than it was
    history.perform(history.units.restart(key("a"), history.now))
    assert ["spawn a"] == history.take()


def test_a_unit_without_readiness_runs_when_it_was_spawned() -> None:
    """`readiness: started` needs no message."""
    history = History(unit("a"))
    assert ["spawn a"] == history.take()
    assert "<Units flow/a:running>" == repr(history.units)


def test_starts_wait_for_lower_orders_to_be_ready() -> None:
    """Equal orders start together."""
    history = History(
        unit("b", order=1), unit("c", order=1), unit("a", readiness="notify"), unit("z")
    )
    assert ["spawn a", "spawn z"] == history.take()
    history.ready("a")
    assert ["spawn b", "spawn c"] == history.take()


def test_starts_go_by_rank_without_waiting() -> None:
    """Consumers are there a moment before their producers; none waits until another is ready."""
    slow = {"order": 1, "readiness": "notify"}
    history = History(
        unit("camera", rank=2, **slow), unit("view", rank=0, **slow), unit("filter", rank=1, **slow)
    )
    assert ["spawn view", "spawn filter", "spawn camera"] == history.take()


def test_producers_leave_before_their_consumers() -> None:
    """What they said last is still heard; then the new ones start, consumers first."""
    history = History(unit("camera", rank=1), unit("view"))
    history.take()
    history.activate(unit("camera", rank=1, env={"A": "1"}), unit("view", env={"A": "1"}))
    assert ["ask camera"] == history.take()
    history.exited("camera")
    assert ["ask view"] == history.take()
    history.exited("view")
    assert ["spawn view", "spawn camera"] == history.take()


def test_a_deaf_producer_keeps_its_consumers_for_a_moment_only() -> None:
    """A chain of them would take minutes to stop."""
    history = History(unit("camera", rank=2), unit("filter", rank=1), unit("view"))
    history.take()
    history.stop()
    history.wait(1.9)
    assert ["ask camera"] == history.take()
    history.wait(0.2)
    assert ["ask view", "ask filter"] == history.take()


def test_a_unit_whose_rank_alone_changed_keeps_its_process() -> None:
    """And leaves by its new rank."""
    history = History(unit("camera", rank=1), unit("view"))
    history.take()
    history.activate(unit("camera"), unit("view", rank=1))
    assert [] == history.take()
    history.stop()
    assert ["ask view"] == history.take()


def test_who_does_not_become_ready_is_waited_for_until_its_start_timeout() -> None:
    """Then the others start; it stays, and is told to be late until it says READY."""
    history = History(unit("a", readiness="notify", start_timeout=5), unit("b", order=1))
    history.wait(4.9)
    assert ["spawn a"] == history.take()
    history.wait(0.2)
    assert ["spawn b"] == history.take()
    assert "not ready 5 s after its start" == history.slot("a").error
    history.ready("a")
    assert (None, "running") == (history.slot("a").error, history.slot("a").state.value)


def test_a_unit_that_crashes_before_it_is_ready_does_not_hold_others_for_ever() -> None:
    """Its start_timeout counts from its first start."""
    policy = RestartPolicy(when="always", delay=1)
    history = History(
        unit("a", readiness="notify", start_timeout=5, restart=policy), unit("b", order=1)
    )
    for _ in range(4):
        history.exited("a", CRASH)
        history.wait(1.1)
    assert "spawn b" not in history.take()
    history.exited("a", CRASH)
    history.wait(1.1)
    assert "spawn b" in history.take()


def test_stops_go_in_reverse_order() -> None:
    """Each order waits until the one above it has gone."""
    history = History(unit("a"), unit("b", order=1), unit("c", order=1))
    history.take()
    history.stop()
    assert ["ask b", "ask c"] == history.take()
    history.exited("b")
    assert [] == history.take()
    history.exited("c")
    assert ["ask a"] == history.take()
    history.exited("a")
    assert history.units.gone("flow")
    assert FINE == history.units.departed[key("a")].exit


def test_the_ladder_has_three_steps() -> None:
    """Asked, then SIGTERM after term_after, then SIGKILL after kill_after; then nothing more."""
    history = History(unit("a", stop=StopPolicy(term_after=10, kill_after=5)))
    history.take()
    history.stop()
    history.wait(9.9)
    assert ["ask a"] == history.take()
    history.wait(0.2)
    assert ["SIGTERM a"] == history.take()
    history.wait(5)
    assert ["SIGKILL a"] == history.take()
    history.wait(1000)
    assert [] == history.take()
    history.exited("a", Exit(signal="SIGKILL"))
    assert "did not react to SIGTERM and was killed" == history.units.departed[key("a")].error


def test_who_does_not_listen_is_signalled_at_once() -> None:
    """Without waiting for term_after; the news counts once."""
    history = History(unit("a", stop=StopPolicy(term_after=1000, kill_after=5)))
    history.take()
    history.stop()
    history.deaf("a")
    history.deaf("a")
    assert ["ask a", "SIGTERM a"] == history.take()


def test_an_unchanged_unit_is_not_touched() -> None:
    """Only what changed stops and starts."""
    history = History(unit("a"), unit("b"))
    history.take()
    history.activate(unit("a"), unit("b", env={"X": "1"}))
    assert ["ask b"] == history.take()
    history.exited("b")
    assert ["spawn b"] == history.take()
    assert (1, 0) == (history.slot("a").pid, history.slot("b").restarts)


def test_what_comes_waits_for_what_leaves() -> None:
    """A camera that the old unit holds must be free when the new one opens it."""
    history = History(unit("old"))
    history.take()
    history.activate(unit("new"))
    assert ["ask old"] == history.take()
    history.exited("old")
    assert ["spawn new"] == history.take()


def test_a_unit_that_was_asked_to_leave_and_is_wanted_again_starts_anew() -> None:
    """Never two copies: the new process comes after the end of the old one."""
    history = History(unit("a"))
    history.stop()
    history.activate(unit("a"))
    history.activate(unit("a", env={"X": "1"}))
    assert ["spawn a", "ask a"] == history.take()
    history.exited("a")
    assert ["spawn a"] == history.take()
    assert {"X": "1"} == dict((history.slot("a").actual or unit("a")).env)


def test_a_restart_that_is_due_does_not_survive_its_unit() -> None:
    """A backoff ends with the activation that removes the unit."""
    history = History(unit("a", restart=RestartPolicy(when="always", delay=10)))
    history.exited("a", CRASH)
    assert "backoff" == history.slot("a").state.value
    history.stop()
    history.wait(100)
    assert ["spawn a"] == history.take()
    assert history.units.gone("flow")


def test_ended_units_stay_ended_and_failed_ones_get_another_chance() -> None:
    """An activation of the same units revives only what had failed."""
    history = History(unit("a"), unit("b"))
    history.exited("a", FINE)
    history.exited("b", CRASH)
    assert ["ended", "failed"] == [history.slot(n).state.value for n in ("a", "b")]
    history.take()
    history.activate(unit("a"), unit("b"))
    assert ["spawn b"] == history.take()


def test_who_ended_unseen_gets_another_chance() -> None:
    """It may have ended well, so it is not started again by itself; but a deployment counts it as
    unhealthy, and has to be able to mend that."""
    history = History(unit("a"))
    history.exited("a", Exit())
    assert "ended" == history.units.slots[key("a")].state.value
    history.activate(unit("a"))
    assert ["spawn a", "spawn a"] == history.told


def test_an_exit_that_is_told_twice_counts_once() -> None:
    """News of a process that was replaced meanwhile changes nothing."""
    history = History(unit("a", restart=ALWAYS))
    history.exited("a", CRASH)
    history.wait(1)
    history.take()
    before = history.units.snapshot()
    assert [] == history.units.exited(key("a"), 1, CRASH, history.now)
    assert before == history.units.snapshot()


def test_a_restart_by_hand_goes_through_the_ladder() -> None:
    """Whatever the policy says; the count tells the unit that it is a restart."""
    history = History(unit("a"))
    history.take()
    history.perform(history.units.restart(key("a"), history.now))
    assert ["ask a"] == history.take()
    history.exited("a")
    assert ["spawn a"] == history.take()
    assert 1 == history.slot("a").restarts


def test_what_cannot_be_started_follows_the_policy_but_not_in_a_tight_loop() -> None:
    """At least a second between tries; without a policy it has failed."""
    for policy, state in ((RestartPolicy(), "failed"), (ALWAYS, "backoff")):
        units = Units()
        units.activate("flow", 1, [unit("a", restart=policy)], 0.0)
        units.spawn_failed(key("a"), "no such program", 0.0)
        slot = units.slots[key("a")]
        assert (state, "no such program", None) == (slot.state.value, slot.error, slot.exit)
        assert [] == units.tick(0.9)
        assert (state == "backoff") == bool(units.tick(1.1))


def test_changes_are_told_once() -> None:
    """A watcher asks what changed since it asked last."""
    history = History(unit("a"))
    assert {key("a")} == history.units.take_changed()
    assert set() == history.units.take_changed()
    history.exited("a")
    assert {key("a")} == history.units.take_changed()
