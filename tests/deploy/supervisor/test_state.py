"""The state machine: histories of events in, lists of actions out; no process, no clock."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace

from deploy.supervisor.actions import Action, AskStatus, AskToStop, Clean, Signal, Spawn
from deploy.supervisor.daemon import Inherited
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot, State
from deploy.supervisor.state import Units
from deploy.unit import RestartPolicy, StopPolicy, Unit

CRASH = Exit(code=1)
FINE = Exit(code=0)
ALWAYS = RestartPolicy(when="always")


def unit(name: str, **fields: object) -> Unit:
    return replace(Unit(name=name, argv=("run",), cwd="/"), **fields)  # type: ignore[arg-type]


def key(name: str) -> Key:
    return Key("flow", name)


class History:
    """Units with a clock of their own; spawns answer with pids 1, 2, 3..."""

    def __init__(self, *units_: Unit) -> None:
        self.units = Units()
        self.now = 0.0
        self.next_pid = 1
        self.told: list[str] = []
        self.activate(*units_)

    def activate(self, *units_: Unit) -> None:
        self.perform(self.units.activate("flow", 1, units_, self.now)[1])

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                self.told.append(f"spawn {action.unit.name}")
                pid, self.next_pid = self.next_pid, self.next_pid + 1
                assert self.units.slots[action.key].pid is None, "a second copy"
                self.perform(self.units.spawned(action.key, pid, pid * 10, self.now))
            elif isinstance(action, AskToStop):
                self.told.append(f"ask {action.key.unit}")
            elif isinstance(action, Signal):
                self.told.append(f"{action.signal.name} {action.key.unit}")
            else:
                assert isinstance(action, Clean)

    def exited(self, name: str, how: Exit = FINE) -> None:
        pid = self.units.slots[key(name)].pid
        assert pid is not None
        self.perform(self.units.exited(key(name), pid, how, self.now))

    def ready(self, name: str) -> None:
        self.perform(self.units.ready(key(name), self.now))

    def deaf(self, name: str) -> None:
        self.perform(self.units.deaf(key(name), self.now))

    def stop(self) -> None:
        self.perform(self.units.stop("flow", self.now)[1])

    def wait(self, seconds: float) -> None:
        """Lets time pass, deadline by deadline."""
        end = self.now + seconds
        while True:
            deadline = self.units.next_deadline
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.perform(self.units.tick(self.now))
        self.now = end
        self.perform(self.units.tick(self.now))

    def slot(self, name: str) -> Slot:
        return self.units.slots[key(name)]

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


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


def test_a_later_supervisor_goes_on_from_the_journal() -> None:
    """Running units are kept; one that was being stopped is asked again."""
    history = History(unit("a"), unit("b"), unit("c", restart=ALWAYS))
    history.exited("c", CRASH)
    history.activate(unit("a"), unit("b", env={"X": "1"}), unit("c", restart=ALWAYS))
    noted = [Slot.from_json(slot.to_json()) for slot in history.units.snapshot()]
    later = Units()
    later.restore(noted, 1.0)
    wanted = [unit("a"), unit("b", env={"X": "1"}), unit("c", restart=ALWAYS)]
    difference, actions = later.activate("flow", 1, wanted, 1.0, revive=False)
    assert [AskToStop(key("b"))] == [a for a in actions if not isinstance(a, Spawn)]
    assert (("a", "c"), ("b",)) == (difference.kept, difference.restarted)


def test_a_later_supervisor_leaves_alone_what_it_knows_too_little_of() -> None:
    """Of two deployments one is activated before the other, whose units are not unwanted."""
    done = Slot(Key("b", "done"), since=0.0, state=State.ENDED, actual=unit("done"), exit=FINE)
    running = Slot(
        Key("b", "on"), since=0.0, state=State.RUNNING, actual=unit("on"), pid=7, ready=True
    )
    units = Units()
    units.restore([done, running], 0.0)
    assert [] == units.activate("a", 1, [], 1.0, revive=False)[1]
    difference, actions = units.activate("b", 1, [unit("done"), unit("on")], 1.0, revive=False)
    assert (("done", "on"), []) == (difference.kept, actions)


def test_changes_are_told_once() -> None:
    """A watcher asks what changed since it asked last."""
    history = History(unit("a"))
    assert {key("a")} == history.units.take_changed()
    assert set() == history.units.take_changed()
    history.exited("a")
    assert {key("a")} == history.units.take_changed()


def test_a_unit_that_says_nothing_for_its_watchdog_is_killed() -> None:
    """SIGABRT, then SIGKILL; its policy applies and the reason is told. Before READY it is left."""
    policy = RestartPolicy(when="on-failure", max_restarts=1, delay=1)
    history = History(
        unit("a", readiness="notify", watchdog=2, restart=policy, stop=StopPolicy(kill_after=3))
    )
    history.wait(10)
    assert ["spawn a"] == history.take()
    history.ready("a")
    for _ in range(5):
        history.wait(1.9)
        history.units.alive(key("a"), history.now)
    assert [] == history.take()
    history.wait(2)
    assert ["SIGABRT a"] == history.take()
    assert ("stopping", "watchdog: no WATCHDOG=1 for 2 s") == (
        history.slot("a").state.value,
        history.slot("a").error,
    )
    history.wait(3)
    assert ["SIGKILL a"] == history.take()
    history.exited("a", Exit(signal="SIGKILL"))
    assert "ended by SIGKILL (watchdog)" == history.slot("a").error
    history.wait(1)
    assert ["spawn a"] == history.take()
    history.ready("a")
    history.wait(2)
    history.exited("a", FINE)
    slot = history.slot("a")
    assert ("failed", "exited with code 0 (watchdog); given up after 1 restarts") == (
        slot.state.value,
        slot.error,
    )
    assert {"code": 0, "reason": "watchdog"} == (slot.exit or FINE).to_json()


def test_a_unit_that_leaves_is_not_watched() -> None:
    """The ladder of its stop holds; a hung one that is to leave does not come back."""
    history = History(unit("a", watchdog=2, stop=StopPolicy(term_after=100)))
    history.take()
    history.stop()
    history.wait(50)
    assert ["ask a"] == history.take()
    history = History(unit("a", watchdog=2, restart=ALWAYS))
    history.wait(2)
    history.stop()
    history.wait(100)
    assert ["spawn a", "SIGABRT a", "SIGKILL a"] == history.take()
    history.exited("a", Exit(signal="SIGKILL"))
    assert history.units.gone("flow")


def test_a_later_supervisor_gives_a_watched_unit_its_time_anew() -> None:
    """What it said meanwhile nobody heard; one that was being killed is killed."""
    units_ = [unit("a", watchdog=2), unit("b", watchdog=50)]
    history = History(*units_)
    history.wait(2)
    assert ["spawn a", "spawn b", "SIGABRT a"] == history.take()
    noted = [Slot.from_json(slot.to_json()) for slot in history.units.snapshot()]
    later = Units()
    later.restore(noted, 100.0)
    later.activate("flow", 1, units_, 100.0, revive=False)
    assert [Signal(key("a"), 1, signal.SIGKILL)] == later.tick(149.9)
    assert [Signal(key("b"), 2, signal.SIGABRT)] == later.tick(150.0)


def test_what_a_unit_may_have_said_to_nobody_is_asked_for() -> None:
    """It answers; or it does not know the question and is taken as ready after a while."""
    for answers in (True, False):
        later = adopted()
        assert "starting" == later.slots[key("a")].state.value
        assert [] == later.tick(104.0)
        actions = later.ready(key("a"), 104.0) if answers else later.tick(105.0)
        assert [key("b")] == [action.key for action in actions]
        assert "running" == later.slots[key("a")].state.value


def test_who_cannot_be_asked_yet_has_the_rest_of_its_start_timeout() -> None:
    """It may still be on its way to listening; its peers wait no longer than they would have."""
    later = adopted()
    assert [] == later.silent(key("a"), 100.0)
    assert [] == later.tick(119.9)
    assert 120.0 == later.next_deadline
    assert [key("b")] == [action.key for action in later.tick(120.0)]
    assert (True, None) == (later.slots[key("a")].ready, later.slots[key("a")].error)


def adopted() -> Units:
    """A unit that was starting when its supervisor was killed, 40 s before its start_timeout."""
    units_ = [unit("a", readiness="notify", start_timeout=60), unit("b", order=1)]
    history = History()
    history.now = 60.0
    history.activate(*units_)
    noted = [Slot.from_json(slot.to_json()) for slot in history.units.snapshot()]
    later = Units()
    assert [AskStatus(key("a"))] == later.restore(noted, 100.0, unheard={key("a"), key("b")})
    assert [] == later.activate("flow", 1, units_, 100.0, revive=False)[1]
    return later


def test_the_last_lines_of_a_failed_unit_are_kept_until_it_begins_anew() -> None:
    """Not those of a clean end, nor of one that was asked for; a spawn that fails has none."""
    history = History(unit("a"), unit("b"), unit("c", restart=ALWAYS), unit("d"))
    for name, how in (("a", CRASH), ("b", FINE), ("c", CRASH)):
        pid = history.slot(name).pid
        assert pid is not None
        history.perform(history.units.exited(key(name), pid, how, history.now, ["last words"]))
    shown = {s.key.unit: s.last_lines for s in history.units.snapshot()}
    assert {"a": ("last words",), "b": (), "c": ("last words",), "d": ()} == shown
    history.wait(1)
    assert "running" == history.slot("c").state.value
    assert ("last words",) == history.slot("c").last_lines
    noted = Slot.from_json(history.slot("c").to_json())
    assert ("last words",) == noted.last_lines
    history.activate(unit("a"), unit("b"), unit("c", restart=ALWAYS), unit("d"))
    assert () == history.slot("a").last_lines


def test_the_note_of_an_earlier_version_is_read() -> None:
    """It knew no watchdogs, sockets and last lines; an upgrade must not lose its units."""
    history = History(unit("a"))
    noted = history.slot("a").to_json()
    for name in ("last_lines", "hung", "answer_by"):
        del noted[name]
    slot = Slot.from_json(noted)
    assert ((), False, None) == (slot.last_lines, slot.hung, slot.answer_by)
    assert {key("a"): 6} == Inherited.from_text(
        '{"lock": 4, "listener": 5, "notify": [["flow", "a", 6]]}'
    ).notify
