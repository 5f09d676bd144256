"""`dora machines boot`: does what is deployed run again after a reboot? Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.errors import MachineError
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.coordinator import upkeep

WAYS = {
    "systemd": "systemd starts it at boot",
    "systemd-user": "the user's systemd, which lingers, starts it at boot",
    "cron": "cron starts it at boot",
}
FIELDS = ("way", "refused", "changed", "script", "command")


@click.group("boot")
def command() -> None:
    """Have machines run what they ran before, by themselves, when they boot.

    Needs no root: of a systemd unit of the system (root, or sudo without a password), one of the
    user (who then lingers) and a line in the user's crontab, the first that is possible is taken.
    """


@command.command("enable")
@click.argument("pattern", metavar="[MACHINES]", required=False)
@exiting
@on_fleet
async def enable(pattern: str | None, fleet: Fleet) -> Exit:
    """Start the supervisor, and with it all that was confirmed, when MACHINES boot."""
    return await _carry_out("enable", pattern, fleet)


@command.command("disable")
@click.argument("pattern", metavar="[MACHINES]", required=False)
@exiting
@on_fleet
async def disable(pattern: str | None, fleet: Fleet) -> Exit:
    """Start nothing when MACHINES boot. What runs goes on."""
    return await _carry_out("disable", pattern, fleet)


@command.command("status")
@click.argument("pattern", metavar="[MACHINES]", required=False)
@exiting
@on_fleet
async def status(pattern: str | None, fleet: Fleet) -> Exit:
    """Show how MACHINES start what they ran, and why not in a better way."""
    return await _carry_out("status", pattern, fleet)


async def _carry_out(act: str, pattern: str | None, fleet: Fleet) -> Exit:
    fleet = fleet.only(pattern) if pattern else fleet
    async with fleet.contact() as found:
        rows = await upkeep.autostart(found.sessions, act, fleet.out.event)
        told = {name: it for name, it in rows.items() if not isinstance(it, MachineError)}
        errors = {name: it for name, it in rows.items() if isinstance(it, MachineError)}
        data = {
            "errors": {name: it.reason for name, it in errors.items()},
            "machines": {name: {k: it[k] for k in FIELDS} for name, it in told.items()},
            "unreachable": sorted(found.unreachable),
        }
        fleet.out.result(data, lambda console: _text(console, act, told))
        if errors:
            return exit_code(next(iter(errors.values())))
        undone = any((it["way"] is None) == (act == "enable") for it in told.values())
        return Exit.FAILED if undone and act != "status" else exit_of(found)


def _text(console: Console, act: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    for name, it in rows.items():
        way = it["way"]
        if way is None:
            colour = "green" if act == "disable" else "yellow"
            console.print(f"[{colour}]{name}: nothing starts at boot[/{colour}]")
        else:
            already = ", as before" if act == "enable" and not it["changed"] else ""
            console.print(f"[green]{name}: {WAYS.get(way, way)}[/green]{already}")
        for other, why in it["refused"].items():
            console.print(f"  not by {other}: {escape(why)}")
        if way is None and act == "enable":
            console.print(
                "  [cyan]try:[/cyan] install cron there, or allow sudo without a password; or have "
                f"its user run at boot, by whatever there is: {escape(it['command'])}"
            )
