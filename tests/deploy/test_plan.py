"""What has to change, and why, is decided from two profiles alone."""

from __future__ import annotations

from dataclasses import replace

from deploy.differences import Reason, texts
from deploy.plan import Change, plan
from deploy.profile import Profile
from deploy.unit import Socket, Unit

HASH = "0123456789" * 4
OTHER = "9876543210" * 4


def unit(name: str, code: str = HASH, **changes: object) -> Unit:
    base = Unit(
        name=name,
        argv=("python3", f"/root/store/trees/{code}-code/main.py"),
        cwd=f"/root/state/{name}",
        env={"PYTHONPATH": f"/root/store/trees/{code}-code"},
        closure=(f"{code}-code", f"{HASH}-library"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def profile(*units: Unit, documents: dict[str, str] | None = None) -> Profile:
    return Profile("flow", "base", units, documents or {})


def test_the_first_deployment_starts_everything() -> None:
    """Nothing runs yet, so every unit starts, and nothing is expected there."""
    row = plan("flow", {"base": profile(unit("a"), unit("b"))}, {"base": None}).for_machine("base")

    assert (Change("a", "start"), Change("b", "start")) == row.changes
    assert row.expected is None


def test_the_same_profile_changes_nothing() -> None:
    """Deploying twice is no work."""
    same = profile(unit("a"))
    result = plan("flow", {"base": same}, {"base": same})

    assert result.changes_nothing
    assert result.machines[0].up_to_date


def test_changed_code_restarts_that_unit_alone_and_says_why_once() -> None:
    """Paths in argv and env that follow from the code are not reasons of their own."""
    before = profile(unit("a"), unit("b"))
    after = profile(unit("a", code=OTHER), unit("b"))
    row = plan("flow", {"base": after}, {"base": before}).for_machine("base")

    assert (Change("a", "restart", (Reason("tree", "code"),)), Change("b", "keep")) == row.changes
    assert before.hash == row.expected


def test_a_changed_setting_is_named() -> None:
    """A user sees which variable, and that the cores moved, but no values."""
    before = profile(unit("a", env={"GAIN": "1", "PYTHONPATH": "x"}))
    after = profile(unit("a", env={"GAIN": "2", "PYTHONPATH": "x"}, cores=(1,)))
    row = plan("flow", {"base": after}, {"base": before}).for_machine("base")

    (change,) = row.changes
    assert ["GAIN changed", "cores any -> 1"] == texts(change.reasons)


def test_every_setting_of_a_unit_that_restarts_it_has_a_reason() -> None:
    """A restart without a reason is one that nobody can understand."""
    before = profile(unit("a"))
    after = profile(unit("a", sockets=(Socket("shm", "a.shm"),), watchdog=5.0))
    row = plan("flow", {"base": after}, {"base": before}).for_machine("base")

    (change,) = row.changes
    assert ["sockets changed", "watchdog 0 -> 5"] == texts(change.reasons)


def test_a_machine_that_is_no_longer_wanted_is_emptied() -> None:
    """Nodes that moved away are stopped where they were."""
    result = plan("flow", {}, {"base": profile(unit("a"))})

    assert (Change("a", "stop"),) == result.for_machine("base").changes
    assert result.for_machine("base").wanted is None


def test_a_machine_that_never_had_the_deployment_is_left_out() -> None:
    """Nothing there, nothing wanted: no row."""
    assert () == plan("flow", {}, {"base": None}).machines


def test_a_machine_that_did_not_answer_is_not_planned_for() -> None:
    """Nobody knows what it runs."""
    assert () == plan("flow", {"away": profile(unit("a"))}, {}).machines


def test_changed_documents_restart_nothing_but_are_not_up_to_date() -> None:
    """They are rewritten while every process stays."""
    before, after = profile(unit("a")), profile(unit("a"), documents={"dataflow.json": "{}"})
    result = plan("flow", {"base": after}, {"base": before})

    assert result.changes_nothing
    assert not result.machines[0].up_to_date
