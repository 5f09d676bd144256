"""`dora stop`: end a deployment on all its machines. Laptop only."""

from __future__ import annotations

import click

from deploy.connection.connect import Connections
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.logs import only_deployment
from dora.cli.output import Output
from dora.coordinator.contact import contact
from dora.coordinator.stop import stop


@click.command("stop")
@click.argument("deployment", required=False)
@files.inventory_option
@files.limit_option
@files.accept_new_option
@files.json_option
@files.verbose_option
@exiting
async def command(
    deployment: str | None,
    inventory: str | None,
    limit: str | None,
    accept_new: bool,
    as_json: bool,
    verbose: bool,
) -> Exit:
    """Stop all nodes of DEPLOYMENT. Their state, logs and generations are kept."""
    out = Output(as_json=as_json, verbose=verbose)
    machines = files.find_inventory(inventory)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, files.chosen(machines, limit), out.event) as found:
            if not found.sessions:
                return Exit.UNREACHABLE
            name, _ = only_deployment(found.sessions, deployment)
            rows = await stop(name, found.sessions, out.event)
            data = {
                "deployment": name,
                "machines": [
                    {
                        "machine": row.machine,
                        "stopped": list(row.units),
                        "error": row.error.reason if row.error else None,
                    }
                    for row in rows
                ],
                "unreachable": sorted(found.unreachable),
            }

            def text(console: object) -> None:
                for row in rows:
                    if not row.error:
                        out.say(f"{row.machine}: stopped {', '.join(row.units) or 'nothing'}")
                if not rows:
                    out.say(f"{name}: nothing runs")

            out.result(data, text)
            for row in rows:
                if row.error:
                    return exit_code(row.error)
            return Exit.UNREACHABLE if found.required_unreachable else Exit.DONE
    finally:
        await connect.close()
