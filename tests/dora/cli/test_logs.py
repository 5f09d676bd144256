"""`dora logs`: what its options mean, and the order of lines."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from deploy.supervisor import logtimes
from dora.cli.logs import LEVELS, Merged, moment
from dora.cli.output import Output
from dora.coordinator.watch import Line


def test_a_moment_is_a_duration_or_a_time() -> None:
    """Durations are for the machines' clocks; anything else is told as such."""
    assert ({}, {"ago": 600.0}) == (moment(None), moment("10m"))
    wall = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    assert {"since": wall} == moment("2026-03-01T12:00+00:00")
    with pytest.raises(click.UsageError, match="--since soon"):
        moment("soon")


def test_levels_are_the_machines() -> None:
    """They are asked of a supervisor by these names."""
    assert logtimes.LEVELS == LEVELS


def test_lines_wait_for_all_machines_and_then_come_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the order of time at first; equal times keep a machine's own order."""
    merged = Merged(Output(as_json=True), 2)
    for time, text in [(3.0, "c"), (3.0, "d"), (1.0, "a")]:
        merged.add(Line("base", "one", text, time))
    merged.complete()
    assert "" == capsys.readouterr().out
    merged.add(Line("rover", "two", "b", 2.0))
    merged.complete()
    merged.add(Line("base", "one", "late", 0.5))
    shown = [line.split('"line": ')[1] for line in capsys.readouterr().out.splitlines()]
    assert ['"a"}', '"b"}', '"c"}', '"d"}', '"late"}'] == shown
