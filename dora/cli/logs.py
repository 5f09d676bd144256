"""`dora logs`: what nodes have printed, from all machines. Laptop only."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import click

from deploy.document import duration
from deploy.errors import DeployError, MachineError, Refused
from deploy.events import Unreachable
from deploy.session import Session
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.output import Output
from dora.coordinator.names import units_named
from dora.coordinator.watch import Line, log_rows

LEVELS = ("stdout", "trace", "debug", "info", "warn", "error")


@click.command("logs")
@click.argument("deployment", required=False)
@click.option("--follow", "-f", "more", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "--node",
    "-n",
    "nodes",
    multiple=True,
    help="Only this node, or one of its replicas; may be given again.",
)
@click.option("--machine", "-m", "machines", multiple=True, help="Only of this machine; as --node.")
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of this level or above.")
@click.option("--since", help="Only lines since then: 10m (ago), or 2026-03-01T12:00.")
@click.option(
    "--tail", type=click.IntRange(min=0), help="How many lines of each node. [50; with --since all]"
)
@exiting
@on_fleet
async def command(
    deployment: str | None,
    more: bool,
    nodes: tuple[str, ...],
    machines: tuple[str, ...],
    level: str | None,
    since: str | None,
    tail: int | None,
    fleet: Fleet,
) -> Exit:
    """Show what the nodes of DEPLOYMENT printed, in the order of time over all machines; without a
    name, of the only deployment there is."""
    out = fleet.out
    which: dict[str, Any] = moment(since)
    which |= {"tail": tail if tail is not None or since else 50, "level": level}
    if unknown := sorted(set(machines) - {machine.id for machine in fleet.machines}):
        raise click.UsageError(f"no machine {', '.join(unknown)} among those that are selected")
    fleet = fleet.exactly(machines) if machines else fleet
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, sessions = only_deployment(found.sessions, deployment)
        refusals: list[Refused] = []
        merged = Merged(out, len(sessions))

        async def one(session: Session) -> None:
            past = True
            try:
                await session.start_supervisor()
                its = await _units(session, name, nodes)
                async for line in log_rows(session, name, which, its, more=more):
                    if line is not None:
                        merged.add(line)
                    elif past:
                        past = False
                        merged.complete()
            except Refused as refused:
                refusals.append(refused)  # a node that is on another machine
            except MachineError as error:
                out.event(Unreachable(session.machine.id, error))
                found.unreachable[session.machine.id] = error
            if past:
                merged.complete()

        await asyncio.gather(*(one(session) for session in sessions))
        if len(refusals) == len(sessions):
            raise DeployError("\n".join(map(str, refusals)), hint=f"dora status {name}")
        return exit_of(found)


async def _units(session: Session, deployment: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Those nodes as the machine knows them: replicas by their own names. Raises MachineError."""
    profile = await session.profile(deployment) if nodes else None
    units = [unit.name for unit in profile.units] if profile is not None else []
    return tuple(unit for node in nodes for unit in units_named(node, units))


class Merged:
    """Shows lines in the order of time once each of `sources` has told what was there; from then on
    as they come."""

    def __init__(self, out: Output, sources: int) -> None:
        self._out = out
        self._missing = sources
        self._lines: list[Line] = []

    def add(self, line: Line) -> None:
        if self._missing:
            self._lines.append(line)
        else:
            _show(self._out, line)

    def complete(self) -> None:
        """One more source has told."""
        self._missing -= 1
        if not self._missing:
            lines, self._lines = self._lines, []
            for line in sorted(lines, key=lambda line: line.time):
                _show(self._out, line)


def moment(text: str | None) -> dict[str, float]:
    """`10m` -> seconds ago, by each machine's own clock; an ISO time (local unless it says) ->
    since the epoch. Raises click.UsageError."""
    if text is None:
        return {}
    try:
        return {"ago": duration(text)}
    except ValueError:
        pass
    try:
        return {"since": datetime.fromisoformat(text).timestamp()}
    except ValueError:
        raise click.UsageError(
            f"--since {text}: a duration such as 10m, or a time such as 2026-03-01T12:00"
        ) from None


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
    data = {
        "time": line.time,
        "level": line.level,
        "machine": line.machine,
        "node": line.unit,
        "line": line.text,
    }
    clock = time.strftime("%H:%M:%S", time.localtime(line.time))
    out.row(data, lambda console: out.line(f"{clock} {line.machine} {line.unit}", line.text))
