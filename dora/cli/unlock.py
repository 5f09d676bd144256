"""`dora unlock`: take a deployment's lock from whoever has it. Laptop only."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markup import escape

from deploy.errors import MachineError
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.coordinator.upkeep import unlock


@click.command("unlock")
@click.argument("deployment", callback=files.plain_name)
@exiting
@on_fleet
async def command(
    deployment: str,
    fleet: Fleet,
) -> Exit:
    """Take the lock of DEPLOYMENT from whoever deploys it; their command fails.

    A lock ends by itself with its holder's connection, or half a minute after that fell silent.
    """
    out = fleet.out
    async with fleet.contact() as found:
        rows = await unlock(deployment, found.sessions, out.event)
        held = {name: it for name, it in rows.items() if isinstance(it, str)}

        def text(console: Console) -> None:
            for name, owner in held.items():
                console.print(f"{name}: was locked by {escape(owner)}")
            if not held:
                console.print(f"{deployment}: nobody had locked it")

        data = {"deployment": deployment, "locked_by": held}
        out.result(data, text)
        for row in rows.values():
            if isinstance(row, MachineError):
                return exit_code(row)
        return exit_of(found)
