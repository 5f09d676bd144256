"""`dora logs`: what nodes have printed, from all machines. Laptop only."""

from __future__ import annotations

import asyncio

import click

from deploy.errors import DeployError, MachineError, Refused
from deploy.events import Unreachable
from deploy.session import Session
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.output import Output
from dora.coordinator.watch import Line, follow


@click.command("logs")
@click.argument("deployment", required=False)
@click.option("--follow", "-f", "more", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--node", "-n", "nodes", multiple=True, help="Only this node; may be given again.")
@click.option("--tail", default=50, show_default=True, help="How many lines of each node to show.")
@exiting
@on_fleet
async def command(
    deployment: str | None,
    more: bool,
    nodes: tuple[str, ...],
    tail: int,
    fleet: Fleet,
) -> Exit:
    """Show the last lines of the nodes of DEPLOYMENT; without a name, of the only one there is."""
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, sessions = only_deployment(found.sessions, deployment)
        refusals: list[Refused] = []

        async def one(session: Session) -> None:
            try:
                await session.start_supervisor()
                async for line in follow(session, name, tail=tail, units=nodes, more=more):
                    _show(out, line)
            except Refused as refused:
                refusals.append(refused)  # a node that is on another machine
            except MachineError as error:
                out.event(Unreachable(session.machine.id, error))
                found.unreachable[session.machine.id] = error

        await asyncio.gather(*(one(session) for session in sessions))
        if len(refusals) == len(sessions):
            raise DeployError("\n".join(map(str, refusals)), hint=f"dora status {name}")
        return exit_of(found)


def only_deployment(
    sessions: dict[str, Session], name: str | None
) -> tuple[str, tuple[Session, ...]]:
    """The deployment that is meant, and the machines that know it; without a name the only one
    that runs, or the only one there ever was. Raises DeployError when that is not clear."""
    facts = [session.facts for session in sessions.values()]
    known = sorted({name for one in facts for name in one.deployments})
    running = {name for one in facts for name, it in one.deployments.items() if it.current}
    for candidates in (running, known):
        if name is None and len(candidates) == 1:
            (name,) = candidates
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
