"""`dora rebalance`: moves nodes of a running dataflow to where they send less. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.explained import rate_told
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.plan import show_plan
from dora.cli.results import deployed_json, exit_of_deployed, show_deployed
from dora.compile.naming import deployment_name
from dora.coordinator.deploy import deploy
from dora.coordinator.measured import LOOKS
from dora.coordinator.prepare import prepare
from dora.coordinator.trials import hold_trials
from dora.errors import DoraError
from dora.placement.gain import Gain
from dora.placement.traffic import told


@click.command("rebalance")
@files.flow_argument
@files.name_option
@click.option("--yes", is_flag=True, help="Move the nodes; without it nothing is changed.")
@click.option(
    "--watch",
    "seconds",
    type=click.FloatRange(min=1, max=3600),
    default=LOOKS,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch what nodes send; the longer, the better is it known.",
)
@files.confirm_timeout_option
@files.window_option
@files.no_rollback_option
@exiting
@on_fleet
async def command(
    flow: str,
    name: str | None,
    yes: bool,
    seconds: float,
    confirm_timeout: float | None,
    window: float,
    no_rollback: bool,
    fleet: Fleet,
) -> Exit:
    """Show what would go over the network if the nodes of FLOW, which runs, were placed anew.

    Traffic is what `output_rates` says, else what is measured now. With --yes the nodes move; only
    those are started anew. Those who speak to them keep their processes.
    """
    out = fleet.out
    dataflow = files.read_flow(flow, out)
    name = name or deployment_name(flow)
    async with fleet.contact(name) as found:
        if not found.sessions:
            return exit_of(found)
        installed = [it.facts.deployments.get(name) for it in found.sessions.values()]
        if not any(it is not None and it.current is not None for it in installed):
            raise DoraError(
                f"{name} does not run on any machine that answers; nothing was changed",
                hint=f"dora deploy {flow} places it, and starts it",
            )
        if yes:
            await hold_trials(name, found.sessions)
        prepared = await prepare(
            name,
            dataflow,
            fleet.inventory,
            found.sessions,
            out.event,
            moving=True,
            seconds=seconds,
        )
        assert prepared.gain is not None
        gain = prepared.gain
        if not yes or not gain.real:
            out.result(
                {"deployment": name, **gain_json(gain)}, lambda console: _show(console, name, gain)
            )
            if gain.real:
                out.say(f"nothing was changed; dora rebalance --yes {flow} moves the nodes")
            return exit_of(found)
        _show(out.progress, name, gain)
        show_plan(out, prepared, found, brief=True)
        result = await deploy(
            prepared,
            found.sessions,
            rollback=not no_rollback,
            confirm_timeout=confirm_timeout,
            window=window,
            emit=out.event,
        )
        if out.as_json:
            out.result(
                {**deployed_json(result, prepared, found), **gain_json(gain)}, lambda _: None
            )
        else:
            show_deployed(out, result)
        return exit_of_deployed(found, result)


def gain_json(gain: Gain) -> dict[str, Any]:
    """Plain bytes a second; `weighed` counts a byte more the slower its link is."""
    return {
        "worthwhile": gain.real,
        "bytes_per_second": {"now": gain.bytes_now, "after": gain.bytes_after},
        "weighed": {"now": gain.now.traffic, "after": gain.after.traffic},
        "crowding": {"now": gain.now.crowding, "after": gain.after.crowding},
        "moves": [{"node": it.node, "from": it.source, "to": it.target} for it in gain.moves],
        "edges": [
            {
                "from": it.flow.source,
                "now": {"to": list(it.now), "bytes_per_second": it.bytes_now},
                "after": {"to": list(it.after), "bytes_per_second": it.bytes_after},
                "hz": it.flow.rate.hz,
                "bytes": it.flow.rate.bytes,
                "rate_from": it.flow.origin,
            }
            for it in gain.edges
        ],
    }


def _show(console: Console, name: str, gain: Gain) -> None:
    if not gain.real:
        why = "every node is where it should be" if not gain.moves else "too little to restart for"
        console.print(f"{name}: nothing to gain; {why} ({told(gain.bytes_now)} over the network)")
        return
    console.print(
        f"[bold]over the network[/bold]: {told(gain.bytes_now)} now, {told(gain.bytes_after)} after"
    )
    for edge in sorted(gain.edges, key=lambda it: -abs(it.bytes_now - it.bytes_after)):
        before, after = told(edge.bytes_now), told(edge.bytes_after)
        line = f"    {before:>10} -> {after:>10}  {edge.flow.source}"
        console.print(f"{escape(line)} {rate_told(edge.flow)}")
    console.print("[bold]moves[/bold]")
    for move in gain.moves:
        console.print(f"    {move.node}: {move.source} -> {move.target}")
