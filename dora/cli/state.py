"""`dora state`: what nodes and operators keep on their machines. Laptop only."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.errors import MachineError
from dora.cli import files
from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.progress import human_bytes
from dora.coordinator.kept import Entry, Kept, kept
from dora.errors import DoraError

SHARED = "(shared)"  # what nodes and operators of a machine share


@click.group("state")
def command() -> None:
    """Look at what nodes and operators keep on their machines, or clear it.

    OWNER is NODE/OPERATOR, a NODE for all of its operators, or `shared` for what the nodes and
    operators of a machine share (`kvs_write`).
    """


@command.command("list")
@click.argument("deployment", callback=files.plain_name)
@click.argument("owner", required=False)
@exiting
@on_fleet
async def listing(deployment: str, owner: str | None, fleet: Fleet) -> Exit:
    """List the keys that are kept, and how large their values are."""
    return await _run(fleet, "list", deployment, owner, None, _table)


@command.command("get")
@click.argument("deployment", callback=files.plain_name)
@click.argument("owner")
@click.argument("key")
@exiting
@on_fleet
async def get(deployment: str, owner: str, key: str, fleet: Fleet) -> Exit:
    """Write the value of KEY to standard output, as it is (--json: in Base64).

    At most the first MiB of it. If several machines keep one, choose with --limit.
    """

    def show(console: Console, rows: Mapping[str, Kept | MachineError]) -> None:
        found = _entries(rows)
        if len(found) == 1:
            sys.stdout.buffer.write(found[0].value or b"")
            sys.stdout.buffer.flush()
        elif found:
            _table(console, rows)

    code, found = await _ask(fleet, "get", deployment, owner, key, show)
    if code is Exit.DONE and len(found) != 1:
        if not found:
            raise DoraError(
                f"nothing is kept under {key!r} by {owner}",
                hint=f"dora state list {deployment}",
            )
        raise DoraError("several machines keep it", hint="choose one: --limit MACHINE")
    return code


@command.command("clear")
@click.argument("deployment", callback=files.plain_name)
@click.argument("owner", required=False)
@click.argument("key", required=False)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@exiting
@on_fleet
async def clear(
    deployment: str, owner: str | None, key: str | None, yes: bool, fleet: Fleet
) -> Exit:
    """Remove what is kept: all of DEPLOYMENT, of OWNER, or one KEY of it.

    Operators that run go on with what they have in memory; they begin anew with their next start.
    """
    what = " ".join(filter(None, (deployment, owner, key)))
    if not yes and not click.confirm(f"Remove for good what is kept of {what}?", err=True):
        return Exit.FAILED
    return await _run(fleet, "clear", deployment, owner, key, _cleared)


async def _run(
    fleet: Fleet, action: str, deployment: str, owner: str | None, key: str | None, show: Any
) -> Exit:
    code, _ = await _ask(fleet, action, deployment, owner, key, show)
    return code


async def _ask(
    fleet: Fleet, action: str, deployment: str, owner: str | None, key: str | None, show: Any
) -> tuple[Exit, list[Entry]]:
    out = fleet.out
    wanted = "" if owner == "shared" else owner
    async with fleet.contact() as found:
        rows = await kept(found.sessions, action, deployment, wanted, key, out.event)
        data = {
            "deployment": deployment,
            "machines": {name: _json(row) for name, row in rows.items()},
            "unreachable": sorted(found.unreachable),
        }
        out.result(data, lambda console: show(console, rows))
        code = exit_of(found)
        for row in rows.values():
            if isinstance(row, MachineError):
                code = exit_code(row)
        return code, _entries(rows)


def _entries(rows: Mapping[str, Kept | MachineError]) -> list[Entry]:
    return [entry for row in rows.values() if isinstance(row, Kept) for entry in row.entries]


def _json(row: Kept | MachineError) -> dict[str, Any]:
    if isinstance(row, MachineError):
        return {"error": row.reason, "hint": row.hint}
    entries = []
    for entry in row.entries:
        shown: dict[str, Any] = {"owner": entry.owner, "key": entry.key, "bytes": entry.size}
        if entry.value is not None:
            shown["value"] = base64.b64encode(entry.value).decode()
        entries.append(shown)
    return {"entries": entries, "damaged": dict(row.damaged)}


def _table(console: Console, rows: Mapping[str, Kept | MachineError]) -> None:
    found = _entries(rows)
    if found:
        table = Table("machine", "owner", "key", "size", box=None, header_style="bold")
        for entry in found:
            size = human_bytes(entry.size)
            table.add_row(entry.machine, escape(entry.owner or SHARED), escape(entry.key), size)
        console.print(table)
    else:
        console.print("nothing is kept")
    _damage(console, rows)


def _cleared(console: Console, rows: Mapping[str, Kept | MachineError]) -> None:
    found = _entries(rows)
    size = human_bytes(sum(entry.size for entry in found))
    console.print(f"removed {len(found)} keys with {size}" if found else "nothing was kept")
    _damage(console, rows)


def _damage(console: Console, rows: Mapping[str, Kept | MachineError]) -> None:
    for name, row in rows.items():
        for file, why in row.damaged.items() if isinstance(row, Kept) else ():
            console.print(f"[red]{name}: {escape(file)} is damaged: {escape(why)}[/red]")
            console.print("  [cyan]try:[/cyan] dora state clear, which removes it")
