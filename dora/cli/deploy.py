"""`dora deploy`: plan, show, apply, then watch until Ctrl-C. Laptop only.

Here is what it takes to call the machines; all else is loaded while they answer (`deploying`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from deploy.batches import Serial
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.output import Output
from dora.cli.saved import Source
from dora.compile.naming import deployment_name

if TYPE_CHECKING:
    from dora.dataflow.model import Dataflow


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
    source = Source.of(flow)
    fleet = source.fleet(fleet, name)
    name = source.plan.deployment if source.plan else name or deployment_name(source.flow)
    read = functools.cache(lambda: _read(source.flow, fleet.out))
    async with fleet.contact(name, starting=not dry_run, meanwhile=read) as found:
        dataflow = read()
        if not found.sessions:
            return exit_of(found)
        from dora.cli import deploying

        if dry_run:
            return await deploying.show(name, dataflow, source, fleet, found)
        return await deploying.carry_out(
            name,
            dataflow,
            source,
            fleet,
            found,
            detach=detach,
            confirm_timeout=confirm_timeout,
            window=window,
            rollback=not no_rollback,
            serial=serial,
            wait=wait,
            regardless=ignore_holds,
        )


def _read(flow: str, out: Output) -> Dataflow:
    """With all that will be needed once it has been read. Raises DataflowError."""
    from dora.cli import deploying  # noqa: F401

    return files.read_flow(flow, out)
