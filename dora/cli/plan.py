"""`dora plan`: what a deployment would change, and why. Laptop only."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.differences import texts
from deploy.plan import Change, MachinePlan
from deploy.survey import Survey
from deploy.unit import SHARED
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.explained import explained_json, explanations, show_explained
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.output import Output
from dora.cli.progress import human_bytes
from dora.cli.saved import installed
from dora.cli.status import cores_text
from dora.compile.naming import deployment_name
from dora.coordinator import planfile, saved
from dora.coordinator.contact import Contact
from dora.coordinator.prepare import Prepared, prepare
from dora.dataflow.model import Quality
from dora.errors import DoraError

MARKS = {
    "start": "[green]+[/green]",
    "restart": "[yellow]~[/yellow]",
    "reload": "[yellow]~[/yellow]",
    "stop": "[red]-[/red]",
}


@click.command("plan")
@files.flow_argument
@files.name_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the plan, for `dora deploy FILE`; a name that ends in .json.",
)
@click.option(
    "--explain", is_flag=True, help="Also why each node is where it is, and what else was possible."
)
@exiting
@on_fleet
async def command(
    flow: str,
    name: str | None,
    out: Path | None,
    explain: bool,
    fleet: Fleet,
) -> Exit:
    """Show what deploying FLOW would start, restart, stop and keep. Changes nothing that runs."""
    output = fleet.out
    if out is not None and out.suffix != ".json":
        raise click.UsageError(f"--out: a plan's name ends in .json, not as {str(out)!r}")
    dataflow = files.read_flow(flow, output)
    name = name or deployment_name(flow)
    async with fleet.contact(name) as found:
        if not found.sessions:
            return exit_of(found)
        sessions = found.sessions
        prepared = await prepare(
            name, dataflow, fleet.inventory, sessions, output.event, measuring=True
        )
        show_plan(output, prepared, found, explain=explain)
        if out is not None:
            _save(out, prepared, found, flow, fleet)
        return exit_of(found)


def _save(path: Path, prepared: Prepared, found: Contact, flow: str, fleet: Fleet) -> None:
    plan = saved.saved(prepared, flow, fleet.inventory.file, installed(found, prepared.name))
    try:
        planfile.write(plan, path, shown=plan_json(prepared, found)["machines"])
    except OSError as error:
        raise DoraError(f"the plan cannot be written: {error}") from error
    fleet.out.say(f"saved: dora deploy {shlex.quote(str(path))}")


def show_plan(
    out: Output,
    prepared: Prepared,
    found: Contact,
    *,
    brief: bool = False,
    explain: bool = False,
) -> None:
    """The plan on stdout; with `brief`, what changes, on stderr."""
    if brief:
        _text(out.progress, prepared, kept=False)
        return
    told = explanations(prepared) if explain else None
    data = plan_json(prepared, found)
    if told is not None:
        data["explanation"] = explained_json(prepared, told)

    def text(console: Console) -> None:
        _text(console, prepared, kept=True)
        if told is not None:
            show_explained(console, prepared, told)

    out.result(data, text)


def plan_json(prepared: Prepared, found: Contact) -> dict[str, Any]:
    was = prepared.rerouted
    return {
        "deployment": prepared.name,
        "changes": not prepared.plan.changes_nothing,
        "machines": [
            {
                "machine": row.machine,
                "changes": [
                    {
                        "unit": it.unit,
                        "action": it.action,
                        "cores": list(pinned_cores(prepared, row.machine, it.unit)),
                        "reasons": texts(it.reasons),
                        "details": [reason.to_json() for reason in it.reasons],
                    }
                    for it in row.changes
                ],
                "needs": _needs(prepared, row.machine),
            }
            for row in prepared.plan.machines
        ],
        "placement": {
            node: {"machine": it.machine, "reason": it.reason}
            for node, it in prepared.placement.assignments.items()
        },
        "edges": [
            {
                "from": it.source,
                "to": f"{it.consumer}/{it.input}",
                "layer": it.layer,
                **(_quality(it.quality) if it.layer == "zenoh" else {}),
                **({"link": "direct"} if it.direct else {}),
                **({"was": was[it.consumer, it.input]} if (it.consumer, it.input) in was else {}),
            }
            for it in prepared.wiring
        ],
        "warnings": list(prepared.warnings),
        "unreachable": {
            name: {"error": error.reason, "hint": error.hint}
            for name, error in found.unreachable.items()
        },
    }


def _needs(prepared: Prepared, machine: str) -> dict[str, int] | None:
    """Null where nothing changes, or where the machine's store could not be asked."""
    found = prepared.surveys.get(machine, Survey()).look
    if found is None:
        return None
    missing = found.missing
    return {
        "files": len(missing.objects),
        "bytes": missing.bytes,
        "disk": missing.disk,
        "disk_free": missing.free,
    }


def _text(console: Console, prepared: Prepared, *, kept: bool) -> None:
    if prepared.plan.changes_nothing:
        edges = " but the ways of edges" if prepared.rerouted else ""
        console.print(f"{prepared.name}: no change{edges}")
    for row in prepared.plan.machines:
        changes = [it for it in row.changes if kept or it.action != "keep"]
        if changes:
            console.print(f"[bold]{row.machine}[/bold]")
        for change in changes:
            console.print(_line(prepared, row, change))
        needs = _needs(prepared, row.machine)
        if kept and needs is not None:
            full = needs["disk"] > needs["disk_free"]
            room = (
                f"{human_bytes(needs['bytes'])} to send; {human_bytes(needs['disk'])} of "
                f"{human_bytes(needs['disk_free'])} free disk"
            )
            console.print(f"    [{'red' if full else 'dim'}]{room}[/]")
    for warning in prepared.warnings:
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    if kept and prepared.wiring:
        console.print("[bold]edges[/bold]")
        for edge in prepared.wiring:
            said = [it for it in _quality(edge.quality).values() if it not in ("drop", "normal")]
            said = said if edge.layer == "zenoh" else []
            was = prepared.rerouted.get((edge.consumer, edge.input))
            said += [f"[/dim][yellow]now {was}[/yellow][dim]"] if was else []
            how = f" [dim]{', '.join(said)}[/dim]" if said else ""
            layer = "direct" if edge.direct else edge.layer
            line = f"    {layer:8}{edge.source} -> {edge.consumer}/{edge.input}"
            console.print(f"{escape(line)}{how}")


def _quality(quality: Quality) -> dict[str, str]:
    return {"delivery": quality.delivery, "priority": quality.priority}


def _line(prepared: Prepared, row: MachinePlan, change: Change) -> str:
    placed = prepared.placement.of_unit(change.unit)
    if change.reasons:
        why = ", ".join(texts(change.reasons))
    elif placed and placed.machine == row.machine:
        why = placed.reason
    else:
        why = ""
    cores = pinned_cores(prepared, row.machine, change.unit)
    if cores and not any(reason.name == "cores" for reason in change.reasons):
        why = "; ".join(filter(None, [why, f"cores {cores_text(cores)}"]))
    mark = MARKS.get(change.action, " ")
    return f"  {mark} {change.action:8}{change.unit:20} [dim]{escape(why)}[/dim]".rstrip()


def pinned_cores(prepared: Prepared, machine: str, unit: str) -> tuple[int, ...]:
    """Those that the unit is to be pinned to; () for one that is not, or that is to leave."""
    profile = prepared.profiles.get(machine)
    for it in profile.units if profile else ():
        if it.name == unit and it.pin != SHARED:
            return it.cores
    return ()
