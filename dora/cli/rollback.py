"""`dora rollback`: make machines run again what they ran before. Laptop only."""

from __future__ import annotations

import click

from deploy.apply import Closures
from deploy.connection.connect import Connections
from deploy.store.local import LocalStore
from dora.cli import files
from dora.cli.deploy import exit_of
from dora.cli.exits import Exit, exiting
from dora.cli.logs import only_deployment
from dora.cli.output import Output
from dora.cli.results import deployed_json, show_deployed
from dora.coordinator.contact import contact
from dora.coordinator.deploy import carry_out
from dora.coordinator.prepare import cache_folder
from dora.coordinator.revisions import revisions, target
from dora.coordinator.rollback import histories, plan_back


@click.command("rollback")
@click.argument("deployment", required=False)
@click.option("--to", metavar="REVISION", help="Its number or name, as `dora generations` says.")
@files.inventory_option
@files.limit_option
@files.confirm_timeout_option
@files.no_rollback_option
@files.accept_new_option
@files.json_option
@files.verbose_option
@exiting
async def command(
    deployment: str | None,
    to: str | None,
    inventory: str | None,
    limit: str | None,
    confirm_timeout: float | None,
    no_rollback: bool,
    accept_new: bool,
    as_json: bool,
    verbose: bool,
) -> Exit:
    """Bring DEPLOYMENT back to an earlier revision: the one before, or --to another.

    It is switched to, proven and confirmed as a deployment is, and becomes a new revision.
    """
    out = Output(as_json=as_json, verbose=verbose)
    machines = files.find_inventory(inventory)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, files.chosen(machines, limit), out.event) as found:
            name, known = only_deployment(found.sessions, deployment)
            sessions = {it.machine.id: it for it in known}
            past = await histories(name, sessions)
            revision = target(revisions(past), to)
            out.say(f"{name}: back to revision {revision.number}")
            result = await carry_out(
                await plan_back(name, sessions, past, revision),
                Closures(LocalStore(str(cache_folder())), {}),  # machines have all of it
                sessions,
                rollback=not no_rollback,
                confirm_timeout=confirm_timeout,
                note=f"rollback to {revision.number}",
                emit=out.event,
            )
            out.result(deployed_json(result, None, found), lambda console: None)
            if not as_json:
                show_deployed(out, result)
            return exit_of(found, result)
    finally:
        await connect.close()
