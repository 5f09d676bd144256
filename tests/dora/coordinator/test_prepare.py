"""What is known of a dataflow before its next deployment is planned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from deploy.facts import Facts, Installed
from deploy.profile import Profile
from dora.coordinator.prepare import newest_summary
from dora.errors import DoraError
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary
from tests.dora.compile.test_dataplane import facts

NOW = 1_790_000_000.0
DAY = 86400.0


@dataclass
class Answering:
    """As much of a session as is asked."""

    facts: Facts


def answering(machine: str, *, age: float, clock: float) -> Answering:
    """A machine whose generation is `age` seconds old, and whose clock says `clock`."""
    installed = Installed(current=1, hash="h", created=clock - age)
    return Answering(replace(facts(machine), time=clock, deployments={"flow": installed}))


def profile(machine: str, runs_node: str) -> Profile:
    summary = DataflowSummary("flow", {"camera": NodeSummary(runs_node, "")})
    return Profile("flow", machine, (), {DOCUMENT: summary.to_text()})


def test_the_youngest_generation_is_believed_however_clocks_are_set() -> None:
    """A robot that was away while a node moved must not move it back for its clock's sake."""
    for error in (-DAY, 0.0, DAY):
        sessions = {
            "base": answering("base", age=3600, clock=NOW),
            "rover": answering("rover", age=7200, clock=NOW + error),
        }
        profiles = {"base": profile("base", "base"), "rover": profile("rover", "rover")}
        summary = newest_summary("flow", sessions, profiles)  # type: ignore[arg-type]

        assert summary is not None
        assert "base" == summary.nodes["camera"].machine


def test_what_another_version_wrote_is_told_with_the_way_out() -> None:
    """A laptop that was not updated meets a robot that was."""
    text = '{"name": "flow", "nodes": {"camera": {"machine": "a", "outputs": [], "new": 1}}}'
    known = {"a": Profile("flow", "a", (), {DOCUMENT: text})}
    with pytest.raises(DoraError, match="another version of dora") as raised:
        newest_summary("flow", {"a": answering("a", age=1, clock=NOW)}, known)  # type: ignore[dict-item]
    assert "dora stop flow" in (raised.value.hint or "")
