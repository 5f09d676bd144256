"""What the benchmark of deploying makes of its figures."""

from __future__ import annotations

import math

from benchmarks.deploying.verdicts import ANSIBLE, OURS, PYINFRA, RSYNC, Row, Sample

CHANGE = Row(
    "one file",
    {
        OURS: [Sample(3.0, 1.0), Sample(6.0, 2.0), Sample(4.0, 1.0)],
        RSYNC: [Sample(1.0, 1.1), Sample(3.0, 3.0), Sample(0.9, 0.9)],
        PYINFRA: [Sample(15.0, 14.0)],
    },
)


def test_what_counts_is_when_the_new_code_runs() -> None:
    """Proving that it is healthy is shown, and not held against us."""
    assert Sample(4.0, 1.0) == CHANGE.middle(OURS)
    assert 1.0 == Sample(4.0, 1.0).works
    assert 4.0 == Sample(4.0).works


def test_ratios_are_of_runs_in_the_same_round() -> None:
    """So that what else the machine did hits both: 1.1, 1.5 and 0.9 times."""
    assert 1.1 == CHANGE.ratio(RSYNC)
    assert 14.0 == CHANGE.ratio(PYINFRA)
    assert math.isnan(CHANGE.ratio(ANSIBLE))


def test_each_peer_that_ran_has_a_verdict() -> None:
    """As quick as rsync, fifteen times as quick as pyinfra; Ansible did not run."""
    assert {RSYNC: True, PYINFRA: False} == CHANGE.verdicts()
