"""`dora deploy`: plan, show, apply, then watch until Ctrl-C. Laptop only."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import click

from deploy.connection.connect import Connections
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.output import Output
from dora.cli.plan import show_plan
from dora.cli.results import deployed_json, show_deployed
from dora.compile.compile import deployment_name
from dora.coordinator.contact import Contact, contact
from dora.coordinator.deploy import Deployed, deploy
from dora.coordinator.prepare import prepare
from dora.coordinator.watch import Line, watch


@click.command("deploy")
@files.flow_argument
@files.inventory_option
@files.limit_option
@files.name_option
@click.option("--detach", is_flag=True, help="Return once the deployment is healthy.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@files.confirm_timeout_option
@files.no_rollback_option
@files.accept_new_option
@files.json_option
@files.verbose_option
@exiting
async def command(
    flow: str,
    inventory: str | None,
    limit: str | None,
    name: str | None,
    detach: bool,
    dry_run: bool,
    confirm_timeout: float | None,
    no_rollback: bool,
    accept_new: bool,
    as_json: bool,
    verbose: bool,
) -> Exit:
    """Make the machines of the inventory run the dataflow FLOW, then watch it.

    Ctrl-C detaches: everything keeps running. Running it twice changes nothing.
    """
    out = Output(as_json=as_json, verbose=verbose)
    dataflow = files.read_flow(flow, out)
    machines = files.find_inventory(inventory, flow)
    selected = files.chosen(machines, limit)
    name = name or deployment_name(flow)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, selected, out.event) as found:
            prepared = await prepare(name, dataflow, machines, found.sessions, out.event)
            if dry_run:
                show_plan(out, prepared, found)
                return exit_of(found)
            show_plan(out, prepared, found, brief=True)
            result = await deploy(
                prepared,
                found.sessions,
                rollback=not no_rollback,
                confirm_timeout=confirm_timeout,
                emit=out.event,
            )
            if as_json:
                write = out.result if detach else out.row  # a line each, when lines follow
                write(deployed_json(result, prepared, found), lambda console: None)
            else:
                show_deployed(out, result)
            code = exit_of(found, result)
            if detach or not result.healthy:
                return code
            concerned = {*prepared.profiles, *found.unreachable}
            watched = {it.id: it for it in selected if it.id in concerned}
            await _attend(name, found, watched, connect, out)
            return code
    finally:
        await connect.close()


def exit_of(found: Contact, result: Deployed | None = None) -> Exit:
    if result is not None and not result.healthy:
        codes = [exit_code(row.error) for row in result.machines if row.error is not None]
        if Exit.CONFLICT in codes:
            return Exit.CONFLICT
        return Exit.ROLLED_BACK if result.rolled_back else Exit.FAILED
    if found.required_unreachable:
        return Exit.UNREACHABLE
    return Exit.DONE


async def _attend(
    name: str, found: Contact, machines: dict[str, Any], connect: Any, out: Output
) -> None:
    """Shows lines and changes until Ctrl-C or SIGTERM."""
    out.say(f"[dim]watching {name}; Ctrl-C detaches and leaves it running[/dim]")
    task = asyncio.ensure_future(
        watch(name, found.sessions, machines, connect, out.event, lambda line: _show(out, line))
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        out.say(
            f"detached; {name} keeps running.  dora status · dora logs -f {name} · dora stop {name}"
        )


def _show(out: Output, line: Line) -> None:
    data = {"machine": line.machine, "node": line.unit, "line": line.text}
    out.row(data, lambda console: out.line(line.unit, line.text))
