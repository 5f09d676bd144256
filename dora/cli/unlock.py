"""`dora unlock`: take a deployment's lock from whoever has it. Laptop only."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markup import escape

from deploy.connection.connect import Connections
from deploy.errors import MachineError
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.output import Output
from dora.coordinator.contact import contact
from dora.coordinator.upkeep import unlock


@click.command("unlock")
@click.argument("deployment", callback=files.plain_name)
@files.inventory_option
@files.limit_option
@files.accept_new_option
@files.json_option
@files.verbose_option
@exiting
async def command(
    deployment: str,
    inventory: str | None,
    limit: str | None,
    accept_new: bool,
    as_json: bool,
    verbose: bool,
) -> Exit:
    """Take the lock of DEPLOYMENT from whoever deploys it; their command fails.

    A lock ends by itself with its holder's connection, or half a minute after that fell silent.
    """
    out = Output(as_json=as_json, verbose=verbose)
    machines = files.find_inventory(inventory)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, files.chosen(machines, limit), out.event) as found:
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
            return Exit.UNREACHABLE if found.required_unreachable else Exit.DONE
    finally:
        await connect.close()
