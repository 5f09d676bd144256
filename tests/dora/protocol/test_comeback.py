"""Whether a process comes back, as its environment tells it."""

from __future__ import annotations

import pytest

from dora.protocol.comeback import ALWAYS, NEVER, RETURNS, comeback, comes_back


@pytest.mark.parametrize(
    ("restart", "told", "expected"),
    [
        ("never", None, NEVER),
        ("never", "0", NEVER),
        ("always", None, ALWAYS),
        ("on-failure", "0", ALWAYS),
        ("on-failure", "never", NEVER),
        ("on-failure", "1.5", 1_500_000_100),
        ("on-failure", "nan", ALWAYS),
        ("on-failure", "soon", ALWAYS),
    ],
)
def test_what_is_told_counts_within_the_policy(
    restart: str, told: str | None, expected: int
) -> None:
    """Who is told nothing comes back as the flow file says."""
    environ = {} if told is None else {RETURNS: told}
    assert expected == comeback(restart, 100, environ)


def test_a_process_comes_back_from_its_moment_on() -> None:
    """Or always, or never."""
    assert [False, True, True] == [comes_back(100, now) for now in (99, 100, 101)]
    assert comes_back(ALWAYS, 0)
    assert not comes_back(NEVER, 10**18)
