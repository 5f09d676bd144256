"""`dora validate`: is a flow file right, and the inventory with it? Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from deploy.errors import InventoryError
from deploy.inventory import load as load_inventory
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.dataflow.files import check_files
from dora.dataflow.load import load
from dora.dataflow.unsupported import unsupported
from dora.errors import DataflowError, Located, PlacementError
from dora.placement.place import place

PLENTY = 1024  # cores: nobody was asked how many there are


@click.command("validate")
@files.flow_argument
@files.inventory_option
@files.json_option
@exiting
async def command(flow: str, inventory: str | None, as_json: bool) -> Exit:
    """Check FLOW, and with --inventory that every node has a machine. Touches nothing else."""
    out = Output(as_json=as_json)
    errors: list[Located] = []
    warnings: list[Located] = []
    nodes = 0
    machines = None
    if inventory is not None:
        try:
            machines = load_inventory(inventory)
        except InventoryError as error:
            errors += error.issues
    try:
        loaded = load(flow)
        warnings += loaded.warnings
        errors += unsupported(loaded.dataflow)
        errors += check_files(loaded.dataflow)
        nodes = len(loaded.dataflow.nodes)
        if machines is not None:
            every = tuple(machines.machines.values())
            place(loaded.dataflow, every, available={it.id: PLENTY for it in every}, current={})
    except (DataflowError, PlacementError) as error:
        errors += error.issues

    def text(console: Console) -> None:
        for issue in errors:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(str(issue), err=True)
        for issue in warnings:
            click.secho("warning: ", fg="yellow", nl=False, err=True)
            click.echo(str(issue), err=True)
        if not errors:
            console.print(f"{flow}: {nodes} nodes, no problem")

    data = {"valid": not errors, "errors": _json(errors), "warnings": _json(warnings)}
    out.result(data, text)
    return Exit.INVALID if errors else Exit.DONE


def _json(issues: list[Located]) -> list[dict[str, Any]]:
    return [
        {
            "file": it.file,
            "line": it.line,
            "column": it.column,
            "message": it.message,
            "hint": it.hint,
        }
        for it in sorted(issues)
    ]
