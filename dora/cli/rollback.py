"""`dora rollback`: make machines run again what they ran before. Laptop only."""

from __future__ import annotations

import click

from deploy.batches import Serial
from deploy.store.local import LocalStore
from deploy.undertaking import Closures
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, on_fleet
from dora.cli.logs import only_deployment
from dora.cli.results import end_deployed
from dora.coordinator.cache import cache_folder
from dora.coordinator.deploy import carry_out
from dora.coordinator.revisions import revisions, target
from dora.coordinator.rollback import histories, plan_back
from dora.coordinator.trials import hold_trials


@click.command("rollback")
@click.argument("deployment", required=False)
@click.option("--to", metavar="REVISION", help="Its number or name, as `dora generations` says.")
@files.confirm_timeout_option
@files.window_option
@files.no_rollback_option
@files.serial_option
@files.wait_option
@files.ignore_holds_option
@exiting
@on_fleet
async def command(
    deployment: str | None,
    to: str | None,
    confirm_timeout: float | None,
    window: float,
    no_rollback: bool,
    serial: Serial | None,
    wait: float,
    ignore_holds: bool,
    fleet: Fleet,
) -> Exit:
    """Bring DEPLOYMENT back to an earlier revision: the one before, or --to another.

    It is switched to, proven and confirmed as a deployment is, and becomes a new revision.
    """
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, known = only_deployment(found.sessions, deployment)
        sessions = {it.machine.id: it for it in known}
        await hold_trials(name, sessions)
        past = await histories(name, sessions)
        revision = target(revisions(past), to, past)
        out.say(f"{name}: back to revision {revision.number}")
        result = await carry_out(
            await plan_back(name, sessions, past, revision),
            Closures(LocalStore(str(cache_folder())), {}),  # machines have all of it
            sessions,
            rollback=not no_rollback,
            confirm_timeout=confirm_timeout,
            window=window,
            note=f"rollback to {revision.number}",
            serial=serial,
            wait=wait,
            regardless=ignore_holds,
            emit=out.event,
        )
        return end_deployed(out, found, result)
