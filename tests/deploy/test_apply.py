"""What a unit's record means for a deployment: healthy, on its way, or hopeless."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.proof import TRIES, health, hopeless


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


def test_restarts_of_another_day_do_not_count() -> None:
    """A kept unit brings its past along."""
    assert not hopeless(record("backoff", restarts=7), {"a": 7})
    assert hopeless(record("backoff", restarts=7 + TRIES), {"a": 7})
