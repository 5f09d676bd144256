"""Why nodes are where they are, as text and as JSON: `dora plan --explain`. Laptop only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from dora.coordinator.prepare import Prepared
from dora.placement.explain import Explanation, explain
from dora.placement.traffic import Flow, crossing, over_network, told

ORIGINS = {"file": "output_rates", "measured": "measured", "guess": "a guess"}


def explanations(prepared: Prepared) -> tuple[Explanation, ...]:
    placement = prepared.placement
    reasons = {
        part: (placement.of_unit(part) or placement[node]).reason
        for part, node in prepared.situation.nodes.items()
    }
    return explain(prepared.dataflow, prepared.situation, placement.parts, reasons)


def explained_json(prepared: Prepared, found: Sequence[Explanation]) -> dict[str, Any]:
    machine_of = prepared.placement.parts
    return {
        "nodes": [
            {
                "nodes": list(it.nodes),
                "machine": it.machine,
                "reason": it.reason,
                "wishes": list(it.wishes),
                "others": [
                    {
                        "machine": option.machine,
                        "possible": option.traffic is not None,
                        "more_bytes_per_second": option.traffic,
                        "why": option.why,
                    }
                    for option in it.options
                ],
            }
            for it in found
        ],
        "network": [
            {
                "from": flow.source,
                "machine": machine_of[flow.producer],
                "to": list(crossing(flow, machine_of)),
                "readers": list(flow.readers),
                "hz": flow.rate.hz,
                "bytes": flow.rate.bytes,
                "rate_from": flow.origin,
                "bytes_per_second": over_network(flow, machine_of),
            }
            for flow in prepared.situation.flows
        ],
    }


def show_explained(console: Console, prepared: Prepared, found: Sequence[Explanation]) -> None:
    console.print("[bold]why[/bold]")
    for it in found:
        console.print(f"    {', '.join(it.nodes)} on {it.machine}: [dim]{escape(it.reason)}[/dim]")
        for wish in it.wishes:
            console.print(f"        [dim]{escape(wish)}[/dim]")
        for option in it.options:
            mark = "[red]no[/red] " if option.traffic is None else "or "
            console.print(f"        {mark} {option.machine}: [dim]{escape(option.why)}[/dim]")
    machine_of = prepared.placement.parts
    cut = [flow for flow in prepared.situation.flows if crossing(flow, machine_of)]
    total = sum(over_network(flow, machine_of) for flow in cut)
    console.print(f"[bold]over the network[/bold]: {told(total)}")
    for flow in sorted(cut, key=lambda flow: -over_network(flow, machine_of)):
        to = ", ".join(crossing(flow, machine_of))
        way = f"    {told(over_network(flow, machine_of)):>10}  {flow.source}"
        console.print(f"{escape(way)}: {machine_of[flow.producer]} -> {to} {rate_told(flow)}")


def rate_told(flow: Flow) -> str:
    """What the figure rests on."""
    rate = flow.rate
    return f"[dim]{rate.hz:.4g} Hz of {rate.bytes:.4g} bytes, {ORIGINS[flow.origin]}[/dim]"
