"""`dora coordinator`: deploys, stays attached, and deploys what is saved. Laptop only."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import click

from deploy.errors import DeployError
from deploy.inventory import load
from deploy.whereabouts import Known
from dora.cli import files
from dora.cli.exits import Exit, complain, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.plan import show_plan
from dora.cli.results import deployed_json, exit_of_deployed, show_deployed, show_line
from dora.compile.naming import deployment_name
from dora.coordinator.cache import cache_folder
from dora.coordinator.contact import Contact, contact
from dora.coordinator.deploy import Deployed
from dora.coordinator.prepare import Prepared
from dora.coordinator.resident import Listener, Resident
from dora.coordinator.saves import saves
from dora.errors import DoraError


@click.command("coordinator")
@files.flow_argument
@files.name_option
@click.option("--watch-files", is_flag=True, help="Deploy again when a file was saved.")
@files.confirm_timeout_option
@files.window_option
@files.no_rollback_option
@exiting
@on_fleet
async def command(
    flow: str,
    name: str | None,
    watch_files: bool,
    confirm_timeout: float | None,
    window: float,
    no_rollback: bool,
    fleet: Fleet,
) -> Exit:
    """Make the machines run the dataflow FLOW, and stay: connections are held open.

    With --watch-files, the flow file, the inventory and the files of nodes are watched, and what
    was saved is deployed. Ctrl-C detaches: everything keeps running.
    """
    name = name or deployment_name(flow)
    resident = Resident(
        name,
        fleet.connections,
        _listener(fleet),
        {"confirm_timeout": confirm_timeout, "window": window, "rollback": not no_rollback},
        read=lambda: files.read_flow(flow, fleet.out),
        read_inventory=lambda: load(fleet.inventory.file),
    )
    staying = asyncio.create_task(_stay(resident, name, watch_files, fleet))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, staying.cancel)
    try:
        return await staying
    except asyncio.CancelledError:
        fleet.out.say(
            f"detached; {name} keeps running.  dora status · dora logs -f {name} · dora stop {name}"
        )
        return Exit.DONE
    finally:
        await fleet.connections.close()


async def _stay(resident: Resident, name: str, watch_files: bool, fleet: Fleet) -> Exit:
    """Begins anew with every other inventory; ends by itself only where it could not begin."""
    first, out = True, fleet.out
    while True:
        machines = fleet.chosen_of(resident.inventory)
        known = Known(cache_folder() / "machines.json")
        async with contact(fleet.connections, machines, out.event, name, known) as found:
            if first and not found.sessions:
                return exit_of(found)
            try:
                result = await resident.bring_up(found)
                if not result.healthy and not watch_files:
                    return exit_of_deployed(found, result)
            except (DoraError, DeployError) as error:
                if first:
                    raise
                complain(error)
            if first:
                more = ", and deploying what is saved" if watch_files else ""
                out.say(f"[dim]watching {name}{more}; Ctrl-C detaches and leaves it running[/dim]")
            first = False
            watched = {machine.id: machine for machine in machines}
            await resident.stay(found, watched, saves if watch_files else None)
        out.say("[dim]another inventory: connecting anew[/dim]")


def _listener(fleet: Fleet) -> Listener:
    out = fleet.out

    def planned(prepared: Prepared, found: Contact) -> None:
        show_plan(out, prepared, found, brief=True)

    def deployed(prepared: Prepared, result: Deployed, found: Contact) -> None:
        if out.as_json:
            out.row(deployed_json(result, prepared, found), lambda console: None)
        elif out.verbose or any(row.outcome != "unchanged" for row in result.machines):
            show_deployed(out, result)

    def refused(error: Any) -> None:
        if out.as_json:
            out.row({"error": error.message, "hint": error.hint}, lambda console: None)
        complain(error)
        out.say("[dim]nothing was changed; waiting for the next save[/dim]")

    return Listener(
        out.event, lambda line: show_line(out, line), planned, deployed, refused, out.say
    )
