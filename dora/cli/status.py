"""`dora status`: what runs where, asked of the machines through the inventory. Laptop only."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from deploy.errors import held_by
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.status import NodeStatus, Status, status
from dora.protocol.traffic import Traffic

TITLES = [
    *("DEPLOYMENT", "NODE", "MACHINE", "GEN", "STATE", "PID", "SINCE", "RESTARTS"),
    *("IN/s", "OUT/s", "DROPPED", "LATE", "CPU", "MEMORY", "CORES"),
]
COLOURS = {"running": "green", "failed": "red", "backoff": "red", "unknown": "yellow"}


@click.command("status")
@click.argument("deployment", required=False)
@exiting
@on_fleet
async def command(
    deployment: str | None,
    fleet: Fleet,
) -> Exit:
    """Show every node of DEPLOYMENT (all of them without a name): machine, state, pid, cores."""
    out = fleet.out
    async with fleet.contact() as found:
        if deployment is not None and found.sessions:
            only_deployment(found.sessions, deployment)
        result = await status(found, deployment)
        out.result(status_json(result), lambda console: show_status(console, result))
        return exit_of(found)


def status_json(result: Status) -> dict[str, Any]:
    return {
        "nodes": [
            {**_row(row), **_traffic(row), "ready": row.state == "running"}
            for row in result.nodes
            if not row.infrastructure
        ],
        "routers": [_row(row) for row in result.nodes if row.infrastructure],
        "machines": result.machines,
    }


def _row(row: NodeStatus) -> dict[str, Any]:
    data = {**asdict(row), "cores": list(row.cores), "last_lines": list(row.last_lines)}
    del data["traffic"]
    return data


def _traffic(row: NodeStatus) -> dict[str, Any]:
    """Null where the node has not said."""
    if row.traffic is None:
        return dict.fromkeys(field.name for field in fields(Traffic))
    return asdict(row.traffic)


def show_status(console: Console, result: Status) -> None:
    """The table, and below it what is to be known of machines."""
    _table(console, result)
    for machine, facts in result.machines.items():
        if facts["link"] != "up":
            console.print(f"[yellow]{machine}: {unknown_since(facts.get('since'))}[/yellow]")
        for deployment, lock in facts.get("locks", {}).items():
            since = time.strftime("%H:%M:%S", time.localtime(lock["since"]))
            owner = escape(str(lock["owner"]))
            console.print(f"[yellow]{machine}:[/yellow] {deployment} is locked by {owner}, {since}")
        for hold in facts.get("holds", ()):
            console.print(f"[yellow]{machine}:[/yellow] updates are {escape(held_by(hold))}")
        for deployment, number in facts.get("trials", {}).items():
            console.print(
                f"[yellow]{machine}:[/yellow] {deployment}: generation {number} is on trial"
            )


def unknown_since(since: float | None) -> str:
    """Of a machine of which nothing is known since then, or ever."""
    if since is None:
        return "unknown; it has never answered this laptop"
    today = time.localtime(since)[:3] == time.localtime()[:3]
    form = "%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S"
    return f"unknown since {time.strftime(form, time.localtime(since))}"


def _table(console: Console, result: Status) -> None:
    if not result.nodes:
        # Of machines that are away nobody knows.
        links = {machine["link"] for machine in result.machines.values()}
        if "up" in links:
            where = "" if links == {"up"} else " on the machines that answer"
            console.print(f"nothing is deployed{where}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in TITLES:
        table.add_column(title)
    for row in result.nodes:
        colour = COLOURS.get(row.state, "dim")
        table.add_row(
            row.deployment,
            f"[dim]{row.node}[/dim]" if row.infrastructure else row.node,
            row.machine,
            str(row.generation or ""),
            f"[{colour}]{row.state}[/{colour}]",
            str(row.pid or ""),
            _age(row),
            str(row.restarts or ""),
            f"{row.rates.received:.3g}" if row.rates else "",
            f"{row.rates.sent:.3g}" if row.rates else "",
            str(row.traffic.dropped or "") if row.traffic else "",
            _late(row),
            "" if row.cpu is None else f"{row.cpu:.0%}",
            _memory(row),
            cores_text(row.cores) + _scheduling(row),
        )
    # as wide as it is: a cut state or number says nothing
    whole = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    if whole > console.width:
        table.width = whole
    console.print(table, crop=False)
    for row in result.nodes:
        if row.shortfall:
            console.print(f"[yellow]{row.node}@{row.machine} {escape(row.shortfall)}[/yellow]")
        if row.moved:
            console.print(f"[dim]{row.node}@{row.machine}:[/dim] moved {escape(row.moved)}")
        if row.error:
            console.print(f"[dim]{row.node}@{row.machine}:[/dim] {escape(row.error)}")


def _late(row: NodeStatus) -> str:
    """How late the latest of the calls came to its end that missed their deadlines."""
    operators = row.traffic.operators.values() if row.traffic else ()
    worst = max((it.lateness_max for it in operators if it.misses), default=0)
    return f"{worst / 1000:.3g} ms" if worst else ""


def _age(row: NodeStatus) -> str:
    if row.since is None:
        return ""
    seconds = max(0, int(time.time() - row.since))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _memory(row: NodeStatus) -> str:
    """What it uses, of what it may; `41/512 MiB`."""
    if row.rss is None:
        return ""
    used, limit = (round(size / 2**20) for size in (row.rss, row.memory_limit or 0))
    return f"{used}/{limit} MiB" if row.memory_limit else f"{used} MiB"


def _scheduling(row: NodeStatus) -> str:
    """What is not as for any process; ` fifo 50`."""
    found = row.scheduling or {}
    text = f" {found['policy']} {found['priority']}" if found.get("priority") else ""
    return f"{text} nice {found['nice']}" if found.get("nice") else text


def cores_text(cores: tuple[int, ...]) -> str:
    """`2-5,7` for (2, 3, 4, 5, 7)."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in runs)
