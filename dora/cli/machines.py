"""`dora machines`: does each answer, can it run dataflows, may it be updated? Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.errors import MachineError, held_by
from deploy.facts import Facts
from dora.cli import boot, execute, facts, shell
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.progress import human_bytes
from dora.cli.status import cores_text
from dora.coordinator import upkeep
from dora.coordinator.contact import Contact
from dora.coordinator.doctor.finding import Finding
from dora.coordinator.doctor.fitness import facts_findings
from dora.coordinator.status import holds_of


@click.group("machines")
def command() -> None:
    """Look at the machines of an inventory."""


for part in (facts, execute, shell, boot):
    command.add_command(part.command)


@command.command("check")
@exiting
@on_fleet
async def check(fleet: Fleet) -> Exit:
    """Connect to every machine and say what would keep it from running dataflows."""
    out = fleet.out
    async with fleet.contact() as found:
        known = {name: session.facts for name, session in found.sessions.items()}
        rows = {name: facts_findings(it.machine, it.facts) for name, it in found.sessions.items()}
        data: dict[str, Any] = {
            name: {"reachable": True, **facts.described(one), "findings": _json(rows[name])}
            for name, one in known.items()
        }
        for name, error in found.unreachable.items():
            data[name] = {"reachable": False, "error": error.reason, "hint": error.hint}
        for name, session in found.sessions.items():
            data[name]["holds"] = list(await holds_of(session))
        out.result(data, lambda console: _text(console, known, rows, data))
        if found.required_unreachable:
            return Exit.UNREACHABLE
        fatal = any(finding.fatal for row in rows.values() for finding in row)
        return Exit.FAILED if fatal else Exit.DONE


def _json(rows: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return [{"problem": it.problem, "remedy": it.remedy, "fatal": it.fatal} for it in rows]


@command.command("pause")
@click.argument("pattern", metavar="MACHINES")
@click.option("--reason", default="", help="For those who are kept from deploying.")
@exiting
@on_fleet
async def pause(pattern: str, reason: str, fleet: Fleet) -> Exit:
    """Keep MACHINES as they are: nothing is deployed, rolled back or stopped there until `resume`.

    MACHINES is a pattern as for --limit. A pause lies on the machine and survives a reboot.
    """
    async with fleet.only(pattern).contact() as found:
        rows = await upkeep.pause(found.sessions, reason, fleet.out.event)
        return _told(fleet, found, rows, "nobody had paused it")


@command.command("resume")
@click.argument("pattern", metavar="MACHINES")
@exiting
@on_fleet
async def resume(pattern: str, fleet: Fleet) -> Exit:
    """End the pause of MACHINES, whoever paused them."""
    async with fleet.only(pattern).contact() as found:
        rows = await upkeep.resume(found.sessions, fleet.out.event)
        return _told(fleet, found, rows, "it was not paused", "was ")


def _told(
    fleet: Fleet,
    found: Contact,
    rows: Mapping[str, Mapping[str, Any] | MachineError | None],
    nothing: str,
    before: str = "",
) -> Exit:
    pauses = {name: it for name, it in rows.items() if not isinstance(it, MachineError)}
    errors = [it for it in rows.values() if isinstance(it, MachineError)]

    def text(console: Console) -> None:
        for name, it in pauses.items():
            console.print(f"{name}: {before}{escape(held_by(it))}" if it else f"{name}: {nothing}")

    data = {"machines": pauses, "unreachable": sorted(found.unreachable)}
    fleet.out.result(data, text)
    return exit_code(errors[0]) if errors else exit_of(found)


def _text(
    console: Console,
    known: dict[str, Facts],
    rows: dict[str, tuple[Finding, ...]],
    data: Mapping[str, Any],
) -> None:
    for name, one in known.items():
        python = ".".join(map(str, one.python_version))
        console.print(
            f"[green]{name}[/green]: {one.user}@{one.hostname}, {one.arch}, {one.libc} "
            f"{'.'.join(map(str, one.libc_version))}, Python {python}, "
            f"cores {cores_text(one.cores)}, memory {human_bytes(one.memory)}, "
            f"{human_bytes(one.disk_free)} free"
        )
        for hold in data[name]["holds"]:
            console.print(f"  [yellow]updates are {escape(held_by(hold))}[/yellow]")
        for finding in rows[name]:
            console.print(f"  [yellow]{escape(finding.problem)}[/yellow]")
            console.print(f"  [cyan]try:[/cyan] {escape(finding.remedy)}")
