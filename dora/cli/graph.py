"""`dora graph`: a dataflow as Mermaid text or as a page that needs no internet. Laptop only."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from deploy.inventory import load
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.dataflow.draw import html, mermaid
from dora.errors import DoraError
from dora.placement.place import decide, situation_of
from dora.placement.traffic import flows, told

USUAL_CORES = 4


@click.command("graph")
@files.flow_argument
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print Mermaid text; write no file.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Where to write the page.")
@files.inventory_option
@exiting
async def command(flow: str, as_mermaid: bool, output: str | None, inventory: str | None) -> Exit:
    """Draw FLOW: `<name>-graph.html` in the working directory, or Mermaid text on stdout.

    With --inventory, machines are drawn around the nodes that a first deployment would give them,
    and what goes over the network has its MB/s. No machine is asked: one of which the inventory
    does not say its cores counts as having four.
    """
    out = Output()
    dataflow = files.read_flow(flow, out, runnable=False)
    machine_of: dict[str, str] = {}
    speeds: dict[tuple[str, str], str] = {}
    if inventory is not None:
        every = tuple(load(inventory).machines.values())
        available = {it.id: len(it.cores or range(USUAL_CORES)) for it in every}
        situation = situation_of(dataflow, every, available=available)
        machine_of = decide(dataflow, situation).machines
        speeds = {(it.producer, it.output): told(it.bytes_per_second) for it in flows(dataflow)}
    if as_mermaid:
        click.echo(mermaid(dataflow, machine_of, speeds))
        return Exit.DONE
    target = Path(output or f"{Path(flow).stem}-graph.html")
    try:
        target.write_text(html(dataflow, machine_of, speeds), encoding="utf-8")
    except OSError as error:
        raise DoraError(f"{target} cannot be written: {error.strerror}") from error
    out.say(f"wrote {escape(str(target))}")
    return Exit.DONE
