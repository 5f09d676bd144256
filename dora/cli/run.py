"""`dora run`: a dataflow on this machine, in the foreground. Laptop only."""

from __future__ import annotations

import re

import click
from rich.markup import escape

from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.output import Output
from dora.compile.naming import deployment_name
from dora.coordinator.run import run

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType[float]):
    """`2s`, `500ms`, `3m`, `1h`, or seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 500ms, 2s, 3m or 1h", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


@click.command("run")
@files.flow_argument
@files.name_option
@click.option("--stop-after", type=Duration(), help="Stop by itself after this time.")
@files.json_option
@exiting
async def command(flow: str, name: str | None, stop_after: float | None, as_json: bool) -> Exit:
    """Run FLOW on this machine until its nodes end or Ctrl-C; again Ctrl-C ends it at once."""
    out = Output(as_json=as_json)
    dataflow = files.read_flow(flow, out)

    def show(node: str, line: str) -> None:
        out.row({"node": node, "line": line}, lambda console: out.line(node, line))

    result = await run(name or deployment_name(flow), dataflow, show, stop_after=stop_after)
    for node in result.nodes:
        if node.how is not None:
            out.say(f"[red]node {node.node} {escape(node.how)}[/red]; its last lines:")
            for line in node.last_lines:
                out.progress.print(f"  {line}", markup=False)
    return Exit.DONE if result.succeeded else Exit.FAILED
