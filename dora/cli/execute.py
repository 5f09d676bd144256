"""`dora machines exec`: one command on many machines. Laptop only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import click

from dora.cli.exits import Exit, complain, exiting
from dora.cli.fleet import Fleet, on_fleet
from dora.coordinator.everywhere import Ran, run_everywhere


class BehindDashes(click.Command):
    """Takes what stands behind `--` as `words`, so that what stands before may be left out.
    `example` is shown where there has to be something, and is nothing."""

    def __init__(self, *arguments: Any, example: str | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:at])
        ctx.params["words"] = tuple(args[at + 1 :])
        if self._example and not ctx.params["words"]:
            raise click.UsageError(f"no command; it stands behind two dashes: {self._example}", ctx)
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        words = "-- COMMAND..." if self._example else "[-- COMMAND...]"
        return [*super().collect_usage_pieces(ctx), words]


@click.command("exec", cls=BehindDashes, example="dora machines exec rover -- uptime")
@click.argument("pattern", metavar="[MACHINES]", required=False)
@exiting
@on_fleet
async def command(words: tuple[str, ...], pattern: str | None, fleet: Fleet) -> Exit:
    """Run COMMAND on MACHINES at the same time; each line says where it comes from.

    MACHINES is a pattern as for --limit; all without it. Several words run as they are; a single
    one is a line for the shell there: -- 'df -h | head -2'. Exit code 1 if one of them fails.
    """
    out = fleet.out
    chosen = fleet.only(pattern) if pattern else fleet
    lines: dict[str, list[str]] = {machine.id: [] for machine in chosen.machines}

    def on_line(machine: str, text: str) -> None:
        if out.as_json:
            lines[machine].append(text)
        else:
            out.line(machine, text)

    try:
        rows = await run_everywhere(chosen.connections, chosen.machines, words, on_line)
    finally:
        await chosen.connections.close()
    if out.as_json:
        data = {row.machine: _json(row, lines[row.machine]) for row in rows}
        out.row({"machines": data}, _nothing)
    for row in rows:
        if row.error is not None:
            complain(row.error)
        elif row.status:
            out.say(f"[red]{row.machine}: exit status {row.status}[/red]")
    return exit_of(rows, {machine.id for machine in chosen.machines if machine.optional})


def exit_of(rows: Sequence[Ran], optional: Collection[str]) -> Exit:
    """Pure: 4 where somebody does not answer who should, else 1 where something failed."""
    missing = [row for row in rows if row.unreachable and row.machine not in optional]
    failed = [row for row in rows if row.status or (row.error and not row.unreachable)]
    return Exit.UNREACHABLE if missing else Exit.FAILED if failed else Exit.DONE


def _json(row: Ran, lines: list[str]) -> dict[str, Any]:
    error = None if row.error is None else row.error.reason
    return {"status": row.status, "output": lines, "error": error}


def _nothing(_: object) -> None:
    """There is no text: lines were shown as they came."""
