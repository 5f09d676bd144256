"""`dora topic`: which outputs there are, how much they carry, who reads them. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.cli.status import COLOURS
from dora.coordinator.topics import Reader, Topic, look, topic_of
from dora.coordinator.why.wording import number
from dora.coordinator.wires import Count

SECONDS = 2.0

seconds_option = click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=SECONDS,
    show_default=True,
    help="How long to look at what moves.",
)


@click.group("topic")
def command() -> None:
    """Look at the outputs of a running dataflow."""


@command.command("list")
@click.argument("deployment", required=False)
@seconds_option
@exiting
@on_fleet
async def listing(deployment: str | None, seconds: float, fleet: Fleet) -> Exit:
    """List the outputs of DEPLOYMENT: how much goes through them, and who reads them."""
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, _ = only_deployment(found.sessions, deployment)
        rows = await look(found, name, seconds)
        data = {"deployment": name, "topics": [_json(it) for it in rows]}
        fleet.out.result(data, lambda console: _list(console, rows))
        return exit_of(found)


@command.command("info")
@click.argument("topic", metavar="NODE/OUTPUT")
@click.argument("deployment", required=False)
@seconds_option
@exiting
@on_fleet
async def info(topic: str, deployment: str | None, seconds: float, fleet: Fleet) -> Exit:
    """Show who reads NODE/OUTPUT of DEPLOYMENT: queue, layer, messages received and lost."""
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, _ = only_deployment(found.sessions, deployment)
        row = topic_of(await look(found, name, seconds), topic)
        fleet.out.result({"deployment": name, **_json(row)}, lambda console: _info(console, row))
        return exit_of(found)


def _json(topic: Topic) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "machine": topic.machine,
        "state": topic.state,
        "sent": vars(topic.sent),
        "readers": [_reader(it) for it in topic.readers],
    }


def _reader(reader: Reader) -> dict[str, Any]:
    wire = reader.wire
    return {
        "input": wire.where,
        "machine": reader.machine,
        "state": reader.state,
        "layer": wire.layer,
        "queue_size": wire.queue_size,
        "queue_policy": wire.queue_policy,
        "received": vars(reader.received),
        "dropped": vars(reader.dropped),
    }


def _list(console: Console, rows: tuple[Topic, ...]) -> None:
    table = _table("TOPIC", "MACHINE", "STATE", "SENT", "A SECOND", "READERS")
    for row in rows:
        readers = ", ".join(f"{it.wire.where} ({it.wire.layer})" for it in row.readers)
        table.add_row(row.name, row.machine, _state(row.state), *_count(row.sent), readers)
    if rows:
        _show(console, table)
    else:
        console.print("no node has an output")


def _info(console: Console, topic: Topic) -> None:
    total, rate = _count(topic.sent)
    moves = f"{total} sent since it started, {rate} a second" if total else "nobody has said more"
    console.print(f"{escape(topic.name)} of {topic.machine}, {_state(topic.state)}: {moves}")
    table = _table(
        *("READER", "MACHINE", "STATE", "LAYER", "QUEUE", "RECEIVED", "A SECOND", "DROPPED")
    )
    for it in topic.readers:
        wire = it.wire
        queue = "" if wire.queue_size is None else f"{wire.queue_size} {wire.queue_policy}"
        table.add_row(
            wire.where,
            it.machine,
            _state(it.state),
            wire.layer,
            queue,
            *_count(it.received),
            _count(it.dropped)[0],
        )
    if topic.readers:
        _show(console, table)
    else:
        console.print("nobody reads it")


def _table(*titles: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        numbers = title in ("SENT", "A SECOND", "RECEIVED", "DROPPED")
        table.add_column(title, justify="right" if numbers else "left", no_wrap=True)
    return table


def _show(console: Console, table: Table) -> None:
    whole = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    if whole > console.width:
        table.width = whole  # too wide is better than cut
    console.print(table, crop=False)


def _state(word: str) -> str:
    colour = COLOURS.get(word, "dim")
    return f"[{colour}]{word}[/{colour}]"


def _count(count: Count) -> tuple[str, str]:
    """Total and rate; empty where nobody has said."""
    total = "" if count.total is None else str(count.total)
    return total, "" if count.rate is None else number(count.rate)
