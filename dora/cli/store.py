"""`dora store`: is what machines hold what it should be? Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.errors import MachineError
from deploy.store.verify import Verified
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.progress import human_bytes
from dora.coordinator.upkeep import verify


@click.group("store")
def command() -> None:
    """Look after the files that machines keep."""


@command.command("verify")
@exiting
@on_fleet
async def check(fleet: Fleet) -> Exit:
    """Read every file of the machines' stores, and compare it with its name."""
    return await _run(fleet, repair=False)


@command.command("repair")
@exiting
@on_fleet
async def mend(fleet: Fleet) -> Exit:
    """Remove what is damaged: the next `dora deploy` sends it again."""
    return await _run(fleet, repair=True)


async def _run(fleet: Fleet, *, repair: bool) -> Exit:
    out = fleet.out
    async with fleet.contact() as found:
        rows = await verify(found.sessions, repair=repair, emit=out.event)
        data = {
            "machines": {name: _json(row) for name, row in rows.items()},
            "repaired": repair,
            "unreachable": sorted(found.unreachable),
        }
        out.result(data, lambda console: _text(console, rows, repair=repair))
        for row in rows.values():
            if isinstance(row, MachineError):
                return exit_code(row)
        sound = all(it.sound for it in rows.values() if isinstance(it, Verified))
        if not sound and not repair:
            return Exit.FAILED
        return exit_of(found)


def _json(row: Verified | MachineError) -> dict[str, Any]:
    if isinstance(row, MachineError):
        return {"error": row.reason, "hint": row.hint}
    return {"sound": row.sound, **row.to_json()}


def _text(console: Console, rows: dict[str, Verified | MachineError], *, repair: bool) -> None:
    for name, row in rows.items():
        if not isinstance(row, Verified):
            continue
        read = f"{row.trees} trees, {row.objects} objects, {human_bytes(row.bytes)}"
        if row.sound:
            console.print(f"[green]{name}: sound[/green] ({read})")
            continue
        what = "removed" if repair else "damaged"
        console.print(
            f"[red]{name}: {len(row.damaged_trees)} trees and {len(row.damaged_objects)} objects "
            f"{what}[/red] ({read})"
        )
        for tree, why in row.damaged_trees.items():
            console.print(f"  {tree}: {escape(why)}")
        hint = "dora deploy: it sends them again" if repair else "dora store repair"
        console.print(f"  [cyan]try:[/cyan] {hint}")
