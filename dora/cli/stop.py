"""`dora stop`: end a deployment on all its machines. Laptop only."""

from __future__ import annotations

import click

from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.stop import stop


@click.command("stop")
@click.argument("deployment", required=False)
@click.option("--force", is_flag=True, help="Stop although somebody holds updates up.")
@exiting
@on_fleet
async def command(
    deployment: str | None,
    force: bool,
    fleet: Fleet,
) -> Exit:
    """Stop all nodes of DEPLOYMENT. Their state, logs and generations are kept."""
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, _ = only_deployment(found.sessions, deployment)
        rows = await stop(name, found.sessions, force=force, emit=out.event)
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
        codes = [exit_code(row.error) for row in rows if row.error]
        if codes:
            return Exit.CONFLICT if Exit.CONFLICT in codes else codes[0]
        return exit_of(found)
