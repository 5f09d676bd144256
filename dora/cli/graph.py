"""`dora graph`: a dataflow as Mermaid text or as a page that needs no internet. Laptop only."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.dataflow.draw import html, mermaid
from dora.errors import DoraError


@click.command("graph")
@files.flow_argument
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print Mermaid text; write no file.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Where to write the page.")
@exiting
async def command(flow: str, as_mermaid: bool, output: str | None) -> Exit:
    """Draw FLOW: `<name>-graph.html` in the working directory, or Mermaid text on stdout."""
    out = Output()
    dataflow = files.read_flow(flow, out, runnable=False)
    if as_mermaid:
        click.echo(mermaid(dataflow))
        return Exit.DONE
    target = Path(output or f"{Path(flow).stem}-graph.html")
    try:
        target.write_text(html(dataflow), encoding="utf-8")
    except OSError as error:
        raise DoraError(f"{target} cannot be written: {error.strerror}") from error
    out.say(f"wrote {escape(str(target))}")
    return Exit.DONE
