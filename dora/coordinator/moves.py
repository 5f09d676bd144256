"""What a placement means for nodes that have to leave a machine, in words. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dora.dataflow.model import Dataflow
from dora.placement.bars import Bars


def movable(dataflow: Dataflow, machine_of: Mapping[str, str]) -> dict[str, str]:
    """Node -> its machine, of those that may move."""
    return {node.id: machine_of[node.id] for node in dataflow.nodes.values() if node.deploy.moves}


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """`detector base -> cart, plot base -> cart`; empty if nothing did."""
    return ", ".join(
        f"{node} {before[node]} -> {machine}"
        for node, machine in after.items()
        if node in before and before[node] != machine
    )


def noted(moves: str, reasons: Iterable[str]) -> str:
    """Of a generation."""
    return "; ".join([f"moved {moves}" if moves else "", *reasons]).removeprefix("; ")


def staying(after: Mapping[str, str], bars: Bars) -> tuple[str, ...]:
    """A line for each node that should leave its machine and has no other place."""
    return tuple(
        f"{node} stays on {machine} ({bars[node][machine]}): no other machine will do"
        + _tried(bars[node], machine)
        for node, machine in after.items()
        if machine in bars.get(node, ())
    )


def _tried(bars: Mapping[str, str], here: str) -> str:
    others = [f"{machine} ({why})" for machine, why in bars.items() if machine != here]
    return f"; not {', '.join(others)}" if others else ""
