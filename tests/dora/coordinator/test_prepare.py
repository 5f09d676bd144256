"""What is refused before anything is placed: nodes on machines that nobody could reach any more."""

from __future__ import annotations

import pytest

from deploy.inventory import loads
from dora.coordinator.prepare import refuse_orphans
from dora.errors import DoraError
from dora.protocol.dataflow import DataflowSummary, NodeSummary

SUMMARY = DataflowSummary(
    "flow", {"camera": NodeSummary("rover", "named"), "plot": NodeSummary("base", "named")}
)


def test_a_machine_that_left_the_inventory_is_named_with_its_nodes() -> None:
    """They would run twice."""
    with pytest.raises(DoraError, match=r"lacks machines on which flow runs: camera on rover"):
        refuse_orphans("flow", SUMMARY, loads("machines: {base: {host: b}}"))


def test_machines_may_be_added() -> None:
    """Nothing is orphaned by that."""
    refuse_orphans("flow", SUMMARY, loads("machines: {base: {}, rover: {}, third: {}}"))
