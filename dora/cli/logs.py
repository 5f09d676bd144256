"""`dora logs`: what nodes have printed, from all machines. Laptop only."""

from __future__ import annotations

import asyncio

import click

from deploy.connection.connect import Connections
from deploy.errors import DeployError, MachineError
from deploy.events import Unreachable
from deploy.session import Session
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.coordinator.contact import contact
from dora.coordinator.watch import Line, follow


@click.command("logs")
@click.argument("deployment", required=False)
@files.inventory_option
@files.limit_option
@click.option("--follow", "-f", "more", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--node", "-n", "nodes", multiple=True, help="Only this node; may be given again.")
@click.option("--tail", default=50, show_default=True, help="How many lines of each node to show.")
@files.accept_new_option
@files.json_option
@exiting
async def command(
    deployment: str | None,
    inventory: str | None,
    limit: str | None,
    more: bool,
    nodes: tuple[str, ...],
    tail: int,
    accept_new: bool,
    as_json: bool,
) -> Exit:
    """Show the last lines of the nodes of DEPLOYMENT; without a name, of the only one there is."""
    out = Output(as_json=as_json)
    machines = files.find_inventory(inventory)
    connect = Connections(accept_new=accept_new)
    try:
        async with contact(connect, files.chosen(machines, limit), out.event) as found:
            having = only_deployment(found.sessions, deployment)
            name, sessions = having

            async def one(session: Session) -> None:
                try:
                    await session.start_supervisor()
                    async for line in follow(session, name, tail=tail, units=nodes, more=more):
                        _show(out, line)
                except MachineError as error:
                    out.event(Unreachable(session.machine.id, error))
                    found.unreachable[session.machine.id] = error

            await asyncio.gather(*(one(session) for session in sessions))
            return Exit.UNREACHABLE if found.required_unreachable else Exit.DONE
    finally:
        await connect.close()


def only_deployment(
    sessions: dict[str, Session], name: str | None
) -> tuple[str, tuple[Session, ...]]:
    """The deployment that is meant, and the machines that know it.
    Raises DeployError when there is none, or no name and several."""
    known = sorted({it for session in sessions.values() for it in session.facts.deployments})
    if name is None and len(known) == 1:
        name = known[0]
    if name is None or name not in known:
        what = f"no deployment {name!r}" if name else "no deployment was named"
        raise DeployError(
            f"{what}; the machines that answered know: {', '.join(known) or 'none'}",
            hint="dora status",
        )
    return name, tuple(it for it in sessions.values() if name in it.facts.deployments)


def _show(out: Output, line: Line) -> None:
    data = {"machine": line.machine, "node": line.unit, "line": line.text}
    out.row(data, lambda console: out.line(f"{line.machine} {line.unit}", line.text))
