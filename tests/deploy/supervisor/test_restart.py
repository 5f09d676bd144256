"""The restart policy: a pure table."""

from __future__ import annotations

import pytest

from deploy.supervisor.restart import Again, Enough, Exit, decide, returns_after
from deploy.unit import RestartPolicy

CRASH = Exit(code=2)
KILLED = Exit(signal="SIGKILL")
FINE = Exit(code=0)
UNKNOWN = Exit()


@pytest.mark.parametrize(
    ("when", "exit_", "comes_back"),
    [
        ("never", CRASH, False),
        ("never", UNKNOWN, False),
        ("on-failure", FINE, False),
        ("on-failure", CRASH, True),
        ("on-failure", KILLED, True),
        ("on-failure", UNKNOWN, True),
        ("always", FINE, True),
    ],
)
def test_when_says_after_which_exits_it_comes_back(
    when: str, exit_: Exit, comes_back: bool
) -> None:
    """An exit that nobody saw counts as a failure."""
    decision = decide(RestartPolicy(when=when), exit_, attempts=0, lived=1)
    assert comes_back == isinstance(decision, Again)


def test_the_delay_doubles_up_to_its_limit() -> None:
    """1, 2, 4, 5, 5, and never an overflow."""
    policy = RestartPolicy(when="always", delay=1, max_delay=5)
    delays = []
    for attempts in (0, 1, 2, 3, 4, 100_000):
        decision = decide(policy, CRASH, attempts=attempts, lived=0)
        assert isinstance(decision, Again)
        delays.append(decision.delay)
    assert [1, 2, 4, 5, 5, 5] == delays


def test_without_a_limit_the_delay_stays() -> None:
    """`max_delay` 0: it stays as it is."""
    policy = RestartPolicy(when="always", delay=3)
    assert Again(3, 8) == decide(policy, CRASH, attempts=7, lived=0)


def test_without_a_delay_the_first_restart_is_at_once_and_later_ones_nearly() -> None:
    """A unit that cannot start must not eat a core."""
    policy = RestartPolicy(when="always")
    assert Again(0, 1) == decide(policy, CRASH, attempts=0, lived=0)
    assert Again(0.1, 2) == decide(policy, CRASH, attempts=1, lived=0)


def test_it_is_given_up_after_max_restarts() -> None:
    """The reason says what happened last and how often it was tried."""
    policy = RestartPolicy(when="always", max_restarts=2)
    decision = decide(policy, KILLED, attempts=2, lived=0)
    assert Enough("ended by SIGKILL; given up after 2 restarts") == decision


def test_a_long_life_starts_the_count_anew() -> None:
    """`window` seconds of life are enough."""
    policy = RestartPolicy(when="always", max_restarts=2, delay=1, max_delay=9, window=60)
    assert Again(1, 1) == decide(policy, CRASH, attempts=2, lived=60)
    assert isinstance(decide(policy, CRASH, attempts=2, lived=59), Enough)


def test_exits_are_read_from_return_codes() -> None:
    """Real-time signals have no names but numbers."""
    codes = (0, 3, -9, -40)
    shown = [Exit.from_returncode(code).to_json() for code in codes]
    assert [{"code": 0}, {"code": 3}, {"signal": "SIGKILL"}, {"signal": "SIG40"}] == shown
    assert [Exit.from_returncode(code) for code in codes] == [Exit.from_json(s) for s in shown]


@pytest.mark.parametrize(
    ("policy", "attempts", "expected"),
    [
        (RestartPolicy("never"), 0, None),
        (RestartPolicy("always"), 100, 0.0),
        (RestartPolicy("on-failure", max_restarts=2), 1, 0.0),
        (RestartPolicy("on-failure", max_restarts=2), 2, None),
        (RestartPolicy("on-failure", max_restarts=2, window=5.0), 2, 5.0),
    ],
    ids=["never", "always", "some are left", "used up", "until the window is over"],
)
def test_a_process_knows_whether_it_will_come_back(
    policy: RestartPolicy, attempts: int, expected: float | None
) -> None:
    """As the decision after its failure then has it."""
    assert expected == returns_after(policy, attempts)
    for lived in (0.0, 10.0):
        again = isinstance(decide(policy, Exit(code=1), attempts=attempts, lived=lived), Again)
        assert again == (expected is not None and lived >= expected)
