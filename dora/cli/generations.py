"""`dora generations`: what was deployed, when, by whom, and what became of it. Laptop only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.contact import Contact
from dora.coordinator.revisions import History, Revision, revisions
from dora.coordinator.rollback import histories


@click.command("generations")
@click.argument("deployment", required=False)
@exiting
@on_fleet
async def command(
    deployment: str | None,
    fleet: Fleet,
) -> Exit:
    """List the revisions of DEPLOYMENT, the newest first, with each machine's generation."""
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, sessions = only_deployment(found.sessions, deployment)
        past = await histories(name, {it.machine.id: it for it in sessions})
        rows = tuple(reversed(revisions(past)))
        out.result(_json(name, rows, past, found), lambda console: _text(console, rows))
        return exit_of(found)


def _json(
    name: str, rows: Sequence[Revision], past: Mapping[str, History], found: Contact
) -> dict[str, Any]:
    return {
        "deployment": name,
        "revisions": [
            {
                "number": row.number,
                "revision": row.name,
                "created": row.created,
                "creator": row.creator,
                "note": row.note,
                "current": row.current,
                "failed": row.failed,
                "machines": {
                    machine: {
                        "generation": it.number,
                        "current": it.number == past[machine].current,
                        "pending": it.number == past[machine].pending,
                        "failure": it.failure,
                    }
                    for machine, it in row.machines.items()
                },
            }
            for row in rows
        ],
        "unreachable": sorted(found.unreachable),
    }


def _text(console: Console, rows: Sequence[Revision]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("", "REVISION", "WHEN", "WHO", "GENERATIONS", "NOTE"):
        table.add_column(title)
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.created))
        generations = ", ".join(f"{name} {it.number}" for name, it in row.machines.items())
        note = [escape(row.note)] if row.note else []
        note += [f"[red]{escape(why)}[/red]" for why in dict.fromkeys(row.failures.values())]
        table.add_row(
            "[green]*[/green]" if row.current else "",
            str(row.number),
            when,
            escape(row.creator),
            generations,
            "; ".join(note),
        )
    console.print(table)
