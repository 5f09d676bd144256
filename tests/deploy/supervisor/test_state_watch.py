"""The state machine of units: watchdogs, and what a later supervisor takes over; a fake clock."""

from __future__ import annotations

import signal

from deploy.supervisor.actions import AskStatus, AskToStop, Signal, Spawn
from deploy.supervisor.daemon import Inherited
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot, State
from deploy.supervisor.state import Units
from deploy.unit import RestartPolicy, StopPolicy
from tests.deploy.supervisor.history import ALWAYS, CRASH, FINE, History, key, unit


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
