"""`dora attach`: watch what runs already, from any laptop. Laptop only."""

from __future__ import annotations

import click

from dora.cli.attending import attend
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.cli.status import show_status, status_json
from dora.coordinator.status import status


@click.command("attach")
@click.argument("deployment", required=False)
@exiting
@on_fleet
async def command(deployment: str | None, fleet: Fleet) -> Exit:
    """Watch DEPLOYMENT as `deploy` does: lines, states, lost links; without a name, the only one.

    The inventory is all that is needed. Ctrl-C detaches: everything keeps running.
    """
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return exit_of(found)
        name, _ = only_deployment(found.sessions, deployment)
        result = await status(found, name)
        out.row(status_json(result), lambda console: show_status(console, result))
        # one that is away may have nodes of it that nobody else knows of
        concerned = {*(row.machine for row in result.nodes), *found.unreachable}
        watched = {it.id: it for it in fleet.machines if it.id in concerned}
        sessions = {one: it for one, it in found.sessions.items() if one in watched}
        for lost in found.unreachable:
            if session := sessions.pop(lost, None):
                await session.close()
        await attend(name, sessions, watched, fleet.connections, out)
        return Exit.DONE
