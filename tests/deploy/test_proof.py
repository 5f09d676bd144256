"""What a unit's record means for a deployment: healthy, on its way, or hopeless."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.profile import Profile
from deploy.proof import STOPPING, TRIES, Proof, Prover, checked, health, hopeless, last_lines
from deploy.unit import HealthCommand, Unit


def record(state: str, **more: Any) -> dict[str, Any]:
    return {"name": "a", "state": state, "exit": None, "error": None, "restarts": 0, **more}


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (record("running"), None),
        (record("ended", exit={"code": 0}), None),
        (record("ended", exit={"code": 4}), "exited with 4"),
        (record("failed", exit={"signal": "SIGSEGV"}), "died of SIGSEGV"),
        (record("failed", error="there is no core 9"), "there is no core 9"),
        (record("starting"), "is starting"),
        (None, "was never started"),
    ],
)
def test_health_is_running_or_ended_well(state: dict[str, Any] | None, why: str | None) -> None:
    """The reason is what a person reads."""
    assert why == health(state)


def test_a_unit_that_is_still_starting_is_waited_for() -> None:
    """Only giving up, or one start after the other, is hopeless."""
    assert not hopeless(record("starting"), {})
    assert not hopeless(record("backoff", restarts=TRIES - 1), {})
    assert hopeless(record("backoff", restarts=TRIES), {})
    assert hopeless(record("failed"), {})


def test_a_unit_whose_start_up_time_is_over_is_not_waited_for() -> None:
    """Its supervisor knows when it was started; one that came up late is fine."""
    assert hopeless(record("starting", late=True), {})
    assert hopeless(record("backoff", late=True), {})
    assert not hopeless(record("running", late=True), {})
    assert not hopeless(record("stopping", late=True), {})  # of what ran before


def test_restarts_of_another_day_do_not_count() -> None:
    """A kept unit brings its past along."""
    assert not hopeless(record("backoff", restarts=7), {"a": 7})
    assert hopeless(record("backoff", restarts=7 + TRIES), {"a": 7})


UNIT = Unit("a", ("run",), "/", start_timeout=5.0)
CHECKED = Unit("a", ("run",), "/", health=(HealthCommand(("look",), "look"),))
WINDOW, LIMIT = 3.0, 40.0


def prover(*units: Unit, on_trial: bool = True) -> Prover:
    return Prover(Profile("flow", "m", units), WINDOW, LIMIT, on_trial, began=100.0)


def looks(prover: Prover, *history: tuple[float, dict[str, Any]]) -> list[Proof | None]:
    """What each look at `a` says, so many seconds after the begin."""
    return [prover.look({"a": state}, 100.0 + at) for at, state in history]


def up(pid: int = 7, **more: Any) -> dict[str, Any]:
    return record("running", pid=pid, **more)


def test_a_unit_has_to_stay_up_for_the_window() -> None:
    """Counted from when it was seen to be ready."""
    history = [(0, record("starting")), (1, up()), (3.9, up()), (4, up())]
    *before, proof = looks(prover(UNIT), *history)
    assert [None] * 3 == before
    assert proof == Proof({"a": up()}, {})


def test_a_crash_within_the_window_is_seen() -> None:
    """At once where nothing restarts it."""
    dead = record("failed", exit={"code": 1}, error="exited with code 1")
    assert (
        Proof({"a": dead}, {"a": "exited with code 1"})
        == looks(prover(UNIT), (0, up()), (2, dead))[-1]
    )


def test_a_restart_within_the_window_begins_it_anew() -> None:
    """Also one that fell between two looks."""
    history = [(0, up()), (2, up(8, restarts=1)), (3.5, up(8, restarts=1)), (5, up(8, restarts=1))]
    assert [True, True, True, False] == [it is None for it in looks(prover(UNIT), *history)]


def test_a_unit_that_never_stays_up_is_not_waited_for_for_ever() -> None:
    """The time is over, though it runs at this moment."""
    history = [(at, up(at)) for at in range(0, 44, 2)]
    proof = next(it for it in looks(prover(UNIT), *history) if it is not None)
    assert {"a": "does not stay up for 3 s"} == proof.unhealthy


def test_what_is_never_ready_ends_with_the_time() -> None:
    """A unit's own start-up time, after what ran before had time to leave; or the limit."""
    late = 5 + STOPPING
    assert [None, None] == looks(prover(UNIT), (0, record("waiting")), (late, record("waiting")))
    assert looks(prover(UNIT), (0, record("waiting")), (late + 0.1, record("waiting")))[-1]
    patient = Unit("a", ("run",), "/", start_timeout=1000.0)
    proof = looks(prover(patient), (0, record("waiting")), (LIMIT + 0.1, record("waiting")))[-1]
    assert proof == Proof({"a": record("waiting")}, {"a": "is waiting"})


def test_health_commands_count_while_a_unit_is_on_trial() -> None:
    """The window begins when they have passed; one that fails ends the proof."""
    waiting, busy = up(health=None), up(health={"state": "running", "error": "has not finished"})
    well = up(health={"state": "passed", "error": None})
    found = looks(prover(CHECKED), (0, waiting), (1, busy), (9, well), (11.9, well), (12, well))
    assert [True, True, True, True, False] == [it is None for it in found]
    bad = {"state": "failed", "error": "failed its health command `look`: why", "last_lines": ["x"]}
    proof = looks(prover(CHECKED), (0, busy), (1, up(health=bad)))[-1]
    assert proof == Proof({"a": up(health=bad)}, {"a": bad["error"]})
    assert ("x",) == last_lines(up(health=bad, last_lines=["of the log"]))
    assert looks(prover(CHECKED, on_trial=False), (0, waiting), (3, waiting))[-1]
    assert "waits for its health commands" == checked(CHECKED, waiting)


def test_a_profile_without_units_is_proven_when_none_is_left() -> None:
    """There is no window for nothing."""
    empty = prover()
    assert None is empty.look({"a": record("stopping")}, 101.0)
    assert Proof({}, {}) == empty.look({}, 102.0)
