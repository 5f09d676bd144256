"""`dora machines facts`: what machines are. Laptop only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from deploy.facts import Facts
from deploy.inventory import Machine
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.progress import human_bytes
from dora.cli.status import cores_text

TITLES = (
    *("MACHINE", "HOST", "USER", "ARCH", "LIBC", "PYTHON", "CORES", "MEMORY", "DISK FREE"),
    *("LABELS", "DEPLOYMENTS"),
)


@click.command("facts")
@exiting
@on_fleet
async def command(fleet: Fleet) -> Exit:
    """Show what was read off every machine, and its labels: what placement goes by."""
    async with fleet.contact() as found:
        rows = {name: (it.machine, it.facts) for name, it in found.sessions.items()}
        data: dict[str, Any] = {
            name: {"reachable": True, **described(facts), **_of_machine(machine, facts)}
            for name, (machine, facts) in rows.items()
        }
        for name, error in found.unreachable.items():
            data[name] = {"reachable": False, "error": error.reason, "hint": error.hint}
        fleet.out.result(data, lambda console: _table(console, rows))
        return exit_of(found)


def described(facts: Facts) -> dict[str, Any]:
    return {
        "host": facts.hostname,
        "user": facts.user,
        "arch": facts.arch,
        "libc": _libc(facts),
        "python": _version(facts),
        "cores": list(facts.cores),
        "topology": [asdict(core) for core in facts.topology],
        "pinned": [{**asdict(it), "cores": sorted(it.cores)} for it in facts.pinned],
        "realtime": facts.realtime,
        "nice": facts.nice,
        "metrics": None if facts.metrics is None else "{}:{}".format(*facts.metrics),
        "memory": facts.memory,
        "disk_free": facts.disk_free,
        "root": facts.root,
    }


def _of_machine(machine: Machine, facts: Facts) -> dict[str, Any]:
    return {
        "executable": facts.python,
        "boot_id": facts.boot_id,
        "labels": dict(machine.labels),
        "tags": list(machine.tags),
        "supervisor": dict(facts.supervisor),
        "deployments": {name: it.current for name, it in facts.deployments.items()},
    }


def _table(console: Console, rows: dict[str, tuple[Machine, Facts]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in TITLES:
        table.add_column(title, no_wrap=True)
    for name, (machine, facts) in rows.items():
        running = [name for name, it in facts.deployments.items() if it.current is not None]
        table.add_row(
            name,
            facts.hostname,
            facts.user,
            facts.arch,
            _libc(facts),
            _version(facts),
            cores_text(facts.cores),
            human_bytes(facts.memory),
            human_bytes(facts.disk_free),
            " ".join(f"{key}={value}" for key, value in machine.labels.items()),
            " ".join(running),
        )
    whole = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    if whole > console.width:
        table.width = whole  # too wide is better than cut
    if rows:
        console.print(table, crop=False)


def _libc(facts: Facts) -> str:
    return f"{facts.libc} {'.'.join(map(str, facts.libc_version))}"


def _version(facts: Facts) -> str:
    return ".".join(map(str, facts.python_version))
