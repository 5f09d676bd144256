"""`dora deploy`: plan, show, apply, then watch until Ctrl-C. Laptop only."""

from __future__ import annotations

import asyncio

import click

from deploy.batches import Serial
from dora.cli import files
from dora.cli.attending import attend
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.plan import show_plan
from dora.cli.results import deployed_json, exit_of_deployed, show_deployed
from dora.cli.saved import Source
from dora.compile.compile import deployment_name
from dora.coordinator.deploy import deploy
from dora.coordinator.prepare import prepare
from dora.coordinator.trials import hold_trials


@click.command("deploy")
@files.flow_argument
@files.name_option
@click.option("--detach", is_flag=True, help="Return once the deployment is healthy.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@files.confirm_timeout_option
@files.window_option
@files.no_rollback_option
@files.serial_option
@files.wait_option
@files.ignore_holds_option
@exiting
@on_fleet
async def command(
    flow: str,
    name: str | None,
    detach: bool,
    dry_run: bool,
    confirm_timeout: float | None,
    window: float,
    no_rollback: bool,
    serial: Serial | None,
    wait: float,
    ignore_holds: bool,
    fleet: Fleet,
) -> Exit:
    """Make the machines of the inventory run the dataflow FLOW, then watch it.

    FLOW may be a plan that `dora plan --out` wrote: then exactly that is done, or nothing.
    Ctrl-C detaches: everything keeps running. Running it twice changes nothing.
    """
    out = fleet.out
    source = Source.of(flow)
    fleet = source.fleet(fleet, name)
    dataflow = files.read_flow(source.flow, out)
    name = source.plan.deployment if source.plan else name or deployment_name(source.flow)
    async with fleet.contact(name, starting=not dry_run) as found:
        if not found.sessions:
            return exit_of(found)
        source.check_machines(found)
        if not dry_run:
            await hold_trials(name, found.sessions)
        prepared = await prepare(
            name, dataflow, fleet.inventory, found.sessions, out.event, measuring=True
        )
        source.check_files(prepared, found, fleet.inventory.file)
        if dry_run:
            show_plan(out, prepared, found)
            return exit_of(found)
        show_plan(out, prepared, found, brief=True)
        result = await deploy(
            prepared,
            found.sessions,
            rollback=not no_rollback,
            confirm_timeout=confirm_timeout,
            window=window,
            serial=serial,
            wait=wait,
            regardless=ignore_holds,
            emit=out.event,
        )
        if out.as_json:
            write = out.result if detach else out.row  # a line each, when lines follow
            write(deployed_json(result, prepared, found), lambda console: None)
        else:
            show_deployed(out, result)
        code = exit_of_deployed(found, result)
        await asyncio.gather(*(session.rest() for session in found.sessions.values()))
        if detach or not result.healthy:
            return code
        concerned = {*prepared.profiles, *found.unreachable}
        watched = {it.id: it for it in fleet.machines if it.id in concerned}
        await attend(name, found.sessions, watched, fleet.connections, out)
        return code
