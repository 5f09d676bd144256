"""`dora gc`: remove old generations, and what nothing needs any more. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from deploy.errors import MachineError
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.progress import human_bytes
from dora.coordinator.upkeep import Emptied, collect


@click.command("gc")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many generations of each deployment to keep on each machine.",
)
@exiting
@on_fleet
async def command(
    keep: int,
    fleet: Fleet,
) -> Exit:
    """Remove old generations from machines, and files that none of the others needs.

    What runs, what is booted and what is on trial stays in any case. Needs no free space.
    """
    out = fleet.out
    async with fleet.contact() as found:
        rows = await collect(found.sessions, keep, out.event)
        data = {
            "machines": {name: _json(row) for name, row in rows.items()},
            "unreachable": sorted(found.unreachable),
        }
        out.result(data, lambda console: _text(console, rows))
        for row in rows.values():
            if isinstance(row, MachineError):
                return exit_code(row)
        return exit_of(found)


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
