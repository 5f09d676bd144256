"""The fleet's past, by made-up histories: which generations belong together, and where to go."""

from __future__ import annotations

import pytest

from deploy.errors import DeployError
from dora.coordinator.revisions import (
    History,
    Past,
    at,
    history,
    new_revision,
    revisions,
    target,
    twice,
)


def past(number: int, revision: str, *, failure: str | None = None, units: str = "n") -> Past:
    """`units` are letters."""
    return Past(
        number, revision, float(number), "ada@laptop", tuple(units.split()), failure=failure
    )


# `rover` needed no change at r2, and went back from its part of r4.
FLEET = {
    "base": History((past(1, "r1"), past(2, "r2"), past(3, "r3"), past(4, "r4")), current=4),
    "rover": History(
        (
            past(1, "r1", units="m"),
            past(2, "r3", units="m"),
            past(3, "r4", units="m", failure="no camera"),
        ),
        current=2,
    ),
}


def test_revisions_are_numbered_by_time_and_know_their_generations() -> None:
    """From 1; each with the machines that got something, what failed, and which one is current."""
    rows = revisions(FLEET)
    assert [(1, "r1"), (2, "r2"), (3, "r3"), (4, "r4")] == [(it.number, it.name) for it in rows]
    assert [{"base": 1, "rover": 1}, {"base": 2}, {"base": 3, "rover": 2}] == [
        {machine: it.number for machine, it in row.machines.items()} for row in rows[:3]
    ]
    assert {"rover": "no camera"} == rows[3].failures
    assert [False, False, False, True] == [row.current for row in rows]
    assert [False] * 4 == [row.failed for row in rows]


@pytest.mark.parametrize(
    ("revision", "fleet"),
    [
        ("r0", {"base": None, "rover": None}),
        ("r1", {"base": 1, "rover": 1}),
        ("r2", {"base": 2, "rover": 1}),
        ("r3", {"base": 3, "rover": 2}),
        ("r4", {"base": 4, "rover": 2}),
        ("r9", {"base": 4, "rover": 2}),
    ],
)
def test_the_fleet_at_a_revision(revision: str, fleet: dict[str, int | None]) -> None:
    """The newest generation of each machine up to it, but none that was gone back from."""
    assert fleet == at(FLEET, revision)


def test_a_machine_that_the_deployment_left_has_nothing_of_it() -> None:
    """Its last generation has no units; before that it had some."""
    left = {"base": History((past(1, "r1"), past(2, "r2", units="")), current=None)}
    assert [{"base": 1}, {"base": None}] == [at(left, "r1"), at(left, "r2")]


def name(fleet: dict[str, History], to: str | None = None) -> str:
    return target(revisions(fleet), to, fleet).name


def test_a_rollback_goes_to_the_one_before_or_to_the_one_named() -> None:
    """Those that failed as a whole are left out."""
    broken = History((past(1, "r1"), past(2, "r2", failure="x"), past(3, "r3")), current=3)
    fleet = {"base": broken}
    assert ["r1", "r1", "r3"] == [name(fleet), name(fleet, "1"), name(fleet, "r3")]
    with pytest.raises(DeployError, match="revision 2 has failed: x"):
        name(fleet, "2")


# The rover was away when `n` was moved, and was told when it was back.
MOVED = {
    "base": History((past(1, "r1", units="b dora-router"),), current=1),
    "rover": History(
        (past(1, "r1", units="n lamp dora-router"), past(2, "r3", units="lamp")), current=2
    ),
    "drone": History(
        (past(1, "r1", units="left"), past(2, "r2", units="left n dora-router")), current=2
    ),
}


def test_what_a_machine_missed_is_completed_by_what_it_got_when_it_was_back() -> None:
    """So no node is on two machines; a rollback goes to what was before the move."""
    assert {"base": 1, "rover": 1, "drone": 1} == at(MOVED, "r1")
    assert {"base": 1, "rover": 2, "drone": 2} == at(MOVED, "r2") == at(MOVED, "r3")
    assert "r1" == name(MOVED)
    assert "r2" == name(MOVED, "2")


def test_while_that_machine_is_away_there_is_no_way_to_have_a_node_twice() -> None:
    """It could come back at any moment, and run what it ran."""
    away = {**MOVED, "rover": History(MOVED["rover"].generations[:1], current=1)}
    assert {"n": "drone, rover"} == twice(away, at(away, "r2"))
    assert "r1" == name(away)
    with pytest.raises(DeployError, match="nodes would run twice: n on drone, rover"):
        name(away, "2")


@pytest.mark.parametrize(
    ("history", "to", "message"),
    [
        (History((past(1, "r1"),), current=1), None, "nothing before revision 1"),
        (History((past(1, "r1"), past(2, "r2")), current=None), None, "nothing of it runs"),
        (History((past(1, "r1"),), current=1), "7", "no revision 7; there are 1 to 1"),
        (History((), current=None), "1", "no revision 1"),
    ],
)
def test_a_rollback_to_nowhere_is_refused(history: History, to: str | None, message: str) -> None:
    """With what there is, and what to type."""
    with pytest.raises(DeployError, match=message) as caught:
        name({"base": history}, to)
    assert "dora" in (caught.value.hint or "")


def test_new_revisions_sort_by_time_whatever_the_clocks_say() -> None:
    """A laptop whose clock is behind still comes after what is there."""
    first = new_revision(1_800_000_000.25, "beef")
    assert "20270115T080000.250-beef" == first
    assert new_revision(1_800_000_001, "0000") > first
    assert "20270115T080000.251-0000" == new_revision(5.0, "0000", after=first)
    assert "19700101T000005.000-0000" == new_revision(5.0, "0000", after="what is this")


def test_generations_from_before_there_were_revisions_stand_alone() -> None:
    """They get a name from their own time."""
    row = {"number": 1, "created": 5.0, "creator": "a", "units": ["x"], "revision": ""}
    reply = {"generations": [{**row, "failure": None}], "current": 1, "pending": None}
    assert "19700101T000005.000-0000" == history(reply).generations[0].revision
