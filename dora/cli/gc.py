"""`dora gc`: remove old generations, and what nothing needs any more. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from deploy.connection.connect import Connections
from deploy.errors import MachineError
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.output import Output
from dora.cli.progress import human_bytes
from dora.coordinator.contact import contact
from dora.coordinator.upkeep import Emptied, collect


@click.command("gc")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many generations of each deployment to keep on each machine.",
)
@files.inventory_option
@files.limit_option
@files.accept_new_option
@files.json_option
@files.verbose_option
@exiting
async def command(
    keep: int,
    inventory: str | None,
    limit: str | None,
    accept_new: bool,
    as_json: bool,
    verbose: bool,
) -> Exit:
    """Remove old generations from machines, and files that none of the others needs.

    What runs, what is booted and what is on trial stays in any case. Needs no free space.
    """
    out = Output(as_json=as_json, verbose=verbose)
    machines = files.find_inventory(inventory)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, files.chosen(machines, limit), out.event) as found:
            rows = await collect(found.sessions, keep, out.event)
            data = {
                "machines": {name: _json(row) for name, row in rows.items()},
                "unreachable": sorted(found.unreachable),
            }
            out.result(data, lambda console: _text(console, rows))
            for row in rows.values():
                if isinstance(row, MachineError):
                    return exit_code(row)
            return Exit.UNREACHABLE if found.required_unreachable else Exit.DONE
    finally:
        await connect.close()


def _json(row: Emptied | MachineError) -> dict[str, Any]:
    if isinstance(row, MachineError):
        return {"error": row.reason, "hint": row.hint}
    return {
        "generations": {name: list(numbers) for name, numbers in row.generations.items()},
        "trees": row.store.trees,
        "objects": row.store.objects,
        "agents": row.store.agents,
        "bytes": row.store.bytes,
    }


def _text(console: Console, rows: dict[str, Emptied | MachineError]) -> None:
    for name, row in rows.items():
        if isinstance(row, Emptied):
            count = sum(map(len, row.generations.values()))
            console.print(
                f"{name}: removed {count} generations, {row.store.trees} trees, "
                f"{row.store.objects} objects ({human_bytes(row.store.bytes)})"
            )
