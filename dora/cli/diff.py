"""`dora diff A B`: how one state of a deployment became, or would become, another. Laptop only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.differences import texts
from deploy.plan import Change
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.compile.naming import deployment_name
from dora.coordinator.compare import (
    CURRENT,
    Comparison,
    Side,
    compare,
    past_side,
    planned_side,
)
from dora.coordinator.contact import Contact
from dora.coordinator.prepare import prepare
from dora.coordinator.rollback import histories

WORDS = {
    "start": "added",
    "restart": "changed",
    "reload": "changed",
    "stop": "removed",
    "keep": "same",
}
MARKS = {
    "start": "[green]+[/green]",
    "restart": "[yellow]~[/yellow]",
    "reload": "[yellow]~[/yellow]",
    "stop": "[red]-[/red]",
}


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", default=CURRENT)
@files.name_option
@exiting
@on_fleet
async def command(before: str, after: str, name: str | None, fleet: Fleet) -> Exit:
    """Show which units differ between A and B, and why: files, packages, settings.

    A and B are revisions (numbers or names, as `dora generations` tells them), `current`, or flow
    files. B is `current` if it is not given. Nothing that runs is changed.
    """
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return exit_of(found)
        flows = [word for word in (before, after) if _is_file(word)]
        if name is None and flows:
            name = deployment_name(flows[0])
        if len(flows) < 2:
            name, known = only_deployment(found.sessions, name)
            past = await histories(name, {it.machine.id: it for it in known})

        async def side(word: str) -> Side:
            if not _is_file(word):
                return await past_side(str(name), found.sessions, past, word)
            dataflow = files.read_flow(word, out)
            prepared = await prepare(
                str(name), dataflow, fleet.inventory, found.sessions, out.event
            )
            return planned_side(word, prepared)

        result = await compare(found.sessions, await side(before), await side(after))
        out.result(_json(str(name), result, found), lambda console: _text(console, name, result))
        return exit_of(found)


def _is_file(word: str) -> bool:
    return word != CURRENT and Path(word).is_file()


def _json(name: str, result: Comparison, found: Contact) -> dict[str, Any]:
    return {
        "deployment": name,
        "from": {"what": result.before.what, "generations": dict(result.before.generations)},
        "to": {"what": result.after.what, "generations": dict(result.after.generations)},
        "same": result.same,
        "machines": [
            {
                "machine": machine,
                "units": [
                    {
                        "unit": it.unit,
                        "change": WORDS[it.action],
                        "reasons": texts(it.reasons),
                        "details": [reason.to_json() for reason in it.reasons],
                    }
                    for it in row
                ],
            }
            for machine, row in result.machines.items()
        ],
        "moved": {
            unit: {"from": places[0], "to": places[1]} for unit, places in result.moved.items()
        },
        "unreachable": sorted(found.unreachable),
    }


def _text(console: Console, name: str | None, result: Comparison) -> None:
    console.print(f"{name}: {escape(result.before.what)} -> {escape(result.after.what)}")
    if result.same:
        console.print("no unit differs")
    for machine, row in result.machines.items():
        changes = [it for it in row if it.action != "keep"]
        if changes:
            console.print(f"[bold]{machine}[/bold]")
        for change in changes:
            console.print(_line(change, result))


def _line(change: Change, result: Comparison) -> str:
    places = result.moved.get(change.unit)
    why = ", ".join(texts(change.reasons))
    if places is not None:
        why = f"moved to {places[1]}" if change.action == "stop" else f"moved from {places[0]}"
    word = WORDS[change.action]
    return f"  {MARKS[change.action]} {word:8}{change.unit:20} [dim]{escape(why)}[/dim]".rstrip()
