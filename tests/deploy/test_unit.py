"""Units as data: fingerprints, templates, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.profile import Profile
from deploy.unit import EXCLUSIVE, HealthCommand, Realtime, RestartPolicy, Socket, Unit, escape

UNIT = Unit(
    name="a",
    argv=("${root}/run", "--price", "5$$"),
    cwd="${root}/state",
    env={"OUT": "${run}/x"},
    restart=RestartPolicy(when="always", delay=1.5),
)


def test_json_gives_the_same_unit_back() -> None:
    """With the same fingerprint, also over the wire."""
    back = Unit.from_json(json.loads(json.dumps(UNIT.to_json())))
    assert (UNIT, UNIT.fingerprint) == (back, back.fingerprint)


def test_any_change_changes_the_fingerprint() -> None:
    """Whatever differs needs a restart."""
    changes = [
        {"argv": ("x",)},
        {"cwd": "/"},
        {"env": {}},
        {"cores": (1,)},
        {"links": "x"},
        {"closure": ("x",)},
        {"order": 3},
        {"restart": RestartPolicy()},
        {"sockets": (Socket("s", "s"),)},
        {"sockets": (Socket("s", "s", "seqpacket"),)},
        {"watchdog": 2.0},
        {"memory": 5},
        {"realtime": Realtime("rr", 5)},
        {"nice": 1},
    ]
    prints = {replace(UNIT, **change).fingerprint for change in changes}  # type: ignore[arg-type]
    assert len(changes) == len(prints - {UNIT.fingerprint})


def test_who_else_may_have_its_cores_needs_no_restart() -> None:
    """The process is where it is."""
    shared = replace(UNIT, cores=(1,))
    assert shared.fingerprint == replace(shared, pin=EXCLUSIVE).fingerprint


def test_another_lease_needs_no_restart() -> None:
    """Nor does none; and a unit from before there were leases is what it was."""
    assert UNIT.fingerprint == replace(UNIT, lease=5.0).fingerprint
    assert "lease" not in UNIT.to_json()
    assert 5.0 == Unit.from_json(replace(UNIT, lease=5.0).to_json()).lease


def test_render_fills_in_what_only_the_machine_knows() -> None:
    """`$$` is a dollar; a name that is not given is an error."""
    rendered = UNIT.render({"root": "/r", "run": "/tmp/run"})
    assert ("/r/run", "--price", "5$") == rendered.argv
    assert ("/r/state", "/tmp/run/x") == (rendered.cwd, rendered.env["OUT"])
    with pytest.raises(KeyError):
        UNIT.render({"root": "/r"})


def test_sockets_survive_json_and_their_paths_are_rendered() -> None:
    """As argv and env are."""
    unit = replace(UNIT, sockets=(Socket("a", "${run}/a"), Socket("b", "b", "seqpacket")))
    assert unit == Unit.from_json(json.loads(json.dumps(unit.to_json())))
    rendered = unit.render({"root": "/r", "run": "/tmp/run"})
    assert ["/tmp/run/a", "b"] == [socket.path for socket in rendered.sockets]


def test_what_a_unit_does_not_use_is_not_in_its_json() -> None:
    """A supervisor of an earlier version reads it, and fingerprints stay what they were."""
    assert {"sockets", "watchdog", "health", "memory"}.isdisjoint(UNIT.to_json())


def test_how_much_of_its_log_is_kept_is_no_reason_to_restart_a_unit() -> None:
    """It survives JSON all the same, none at all too."""
    unit = replace(UNIT, log_size=5000, log_files=0)
    assert (UNIT.fingerprint, unit) == (unit.fingerprint, Unit.from_json(unit.to_json()))


def test_how_its_health_is_judged_is_no_reason_to_restart_a_unit() -> None:
    """It is data all the same, survives JSON, and names store paths."""
    health = (HealthCommand(("${root}/look", "5$$"), "look", 2.5),)
    unit = replace(UNIT, health=health)
    assert UNIT.fingerprint == unit.fingerprint
    assert unit == Unit.from_json(json.loads(json.dumps(unit.to_json())))
    rendered = unit.render({"root": "/r", "run": "/tmp/run"})
    assert (HealthCommand(("/r/look", "5$"), "look", 2.5),) == rendered.health


@pytest.mark.parametrize(
    "entry",
    [
        {"argv": [], "text": "x", "timeout": 1},
        {"argv": "look", "text": "x", "timeout": 1},
        {"argv": ["look"], "text": "x", "timeout": -1},
        {"argv": ["look"], "text": 5, "timeout": 1},
        {"argv": ["look"], "text": "x"},
        {"argv": ["look"], "text": "x", "timeout": 1, "more": 1},
        ["look"],
    ],
)
def test_health_commands_that_make_no_sense_are_refused(entry: object) -> None:
    """They come from the network."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Unit.from_json({**UNIT.to_json(), "health": [entry]})


def test_escape_protects_dollars() -> None:
    """A user's text comes back unchanged."""
    unit = replace(UNIT, argv=(escape("$HOME ${x} $$"),), cwd="/", env={})
    assert ("$HOME ${x} $$",) == unit.render({}).argv


def test_a_profile_names_each_unit_and_document_safely() -> None:
    """Names become files: two of one name, or a path, are refused."""
    good = Profile("flow", "rover", (UNIT,), {"a.json": "1"}).to_json()
    assert "flow" == Profile.from_json(good).deployment
    for change in (
        {"units": [UNIT.to_json(), UNIT.to_json()]},
        {"deployment": "../x"},
        {"documents": {"../x": "1"}},
        {"documents": {"x": 1}},
        {"machine": ""},
    ):
        with pytest.raises((ValueError, TypeError)):
            Profile.from_json({**good, **change})


def test_a_rank_is_no_reason_to_restart() -> None:
    """A unit's place among others may change with every other unit of a dataflow."""
    unit = Unit(name="a", argv=("run",), cwd="/")
    ranked = replace(unit, rank=3)
    assert unit.fingerprint == ranked.fingerprint
    assert ranked == Unit.from_json(ranked.to_json())
    assert "rank" not in unit.to_json()
