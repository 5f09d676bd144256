"""`dora top`: what goes through nodes and operators right now, again and again. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.harmless import harmless
from dora.cli.logs import only_deployment
from dora.cli.progress import human_bytes
from dora.cli.status import COLOURS
from dora.coordinator.contact import Contact, contact
from dora.coordinator.rates import History, Look, Row
from dora.coordinator.status import status

SORTS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: (row.deployment, row.machine, row.node, row.operator or ""),
    "cpu": lambda row: -(row.cpu or row.busy or 0.0),
    "memory": lambda row: -(row.rss or 0),
    "in": lambda row: -(row.received or 0.0),
    "out": lambda row: -(row.sent or 0.0),
    "drops": lambda row: -(row.dropped or 0),
    "misses": lambda row: -(row.misses or 0),
}
RETRY = 10.0  # s, until machines that do not answer are tried again
TITLES = (
    *("DEPLOYMENT", "MACHINE", "NODE", "STATE", "CPU", "MEMORY", "IN/s", "OUT/s", "DROPPED"),
    *("RESTARTS", "WAITING", "MISSES", "WORST", "LONGEST"),
)


@click.command("top")
@click.argument("deployment", required=False)
@click.option("--interval", type=click.FloatRange(0.2), default=2.0, help="Seconds between looks.")
@click.option("--operators", is_flag=True, help="A line for each operator of runtimes, too.")
@click.option("--sort", type=click.Choice(list(SORTS)), default="name", help="What comes first.")
@click.option("--once", is_flag=True, help="Two looks, for the rates, and one answer.")
@exiting
@on_fleet
async def command(
    deployment: str | None,
    interval: float,
    operators: bool,
    sort: str,
    once: bool,
    fleet: Fleet,
) -> Exit:
    """Show live what nodes do: processor, memory, messages a second, losses, missed deadlines.

    Rates are means of the last seconds. Machines that fall away are tried again. --json writes a
    line for each look. Ctrl-C ends it; nothing else does, and nothing that runs is touched.
    """
    out, history = fleet.out, History()
    live = None if once or out.as_json or not out.console.is_terminal else Live(auto_refresh=False)
    looks = 0
    try:
        if live is not None:
            live.start()
        while True:
            async with contact(fleet.connections, fleet.machines, out.event) as found:
                if deployment is not None and found.sessions:
                    only_deployment(found.sessions, deployment)
                again = time.monotonic() + RETRY
                while True:
                    history.add(await _look(found, deployment))
                    looks += 1
                    rows = sorted(history.rows(operators=operators), key=SORTS[sort])
                    if looks > 1 or not once:
                        _show(rows, found, live, fleet)
                    if once and looks > 1:
                        return exit_of(found)
                    await asyncio.sleep(interval)
                    if found.unreachable and not once and time.monotonic() > again:
                        break  # reach all of them anew
    finally:
        if live is not None:
            live.stop()
        await fleet.connections.close()


async def _look(found: Contact, deployment: str | None) -> Look:
    return Look(time.monotonic(), (await status(found, deployment)).nodes)


def _show(rows: Sequence[Row], found: Contact, live: Live | None, fleet: Fleet) -> None:
    away = {name: error.reason for name, error in found.unreachable.items()}
    if live is not None:
        live.update(_page(rows, away), refresh=True)
        return
    data = {"rows": [asdict(row) for row in rows], "unreachable": away}
    fleet.out.row(data, lambda console: _print(console, rows, away))


def _print(console: Console, rows: Sequence[Row], away: dict[str, str]) -> None:
    console.print(_page(rows, away), crop=False)


def _page(rows: Sequence[Row], away: dict[str, str]) -> RenderableType:
    if not rows and not away:
        return Text("nothing is deployed")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, title in enumerate(TITLES):
        table.add_column(title, justify="left" if number < 4 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    lines = [
        Text(harmless(f"{name} does not answer: {why}"), "yellow") for name, why in away.items()
    ]
    return Group(table, *lines)


def _cells(row: Row) -> list[str]:
    colour = COLOURS.get(row.state, "dim")
    share = row.cpu if row.operator is None else row.busy
    return [
        row.deployment if row.operator is None else "",
        row.machine if row.operator is None else "",
        row.node if row.operator is None else f"  {row.operator}",
        f"[{colour}]{row.state}[/{colour}]",
        "" if share is None else f"{share:.0%}",
        "" if row.rss is None else human_bytes(row.rss),
        _number(row.received),
        _number(row.sent),
        str(row.dropped or ""),
        str(row.restarts or ""),
        str(row.depth or ""),
        str(row.misses or ""),
        _milliseconds(row.lateness),
        _milliseconds(row.longest),
    ]


def _number(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"


def _milliseconds(seconds: float | None) -> str:
    return "" if not seconds else f"{seconds * 1e3:.1f} ms"
