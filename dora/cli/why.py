"""`dora why`: why no data comes to an input, in one sentence, and what was seen. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.why.collect import SECONDS, collect
from dora.coordinator.why.decide import Answer, decide
from dora.coordinator.why.evidence import evidence
from dora.coordinator.why.situation import Situation


@click.command("why")
@click.argument("target", metavar="NODE/INPUT")
@click.argument("deployment", required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1.5),
    default=SECONDS,
    show_default=True,
    help="How long to look at what moves.",
)
@exiting
@on_fleet
async def command(target: str, deployment: str | None, seconds: float, fleet: Fleet) -> Exit:
    """Tell why no data comes to NODE/INPUT of DEPLOYMENT, and what was seen on the way.

    An operator's input is NODE/OPERATOR/INPUT. Exit code 0 if data comes, after all, else 1.
    """
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, _ = only_deployment(found.sessions, deployment)
        situation = await collect(found, name, target, seconds)
        answer = decide(situation)
        fleet.out.result(_json(situation, answer), lambda it: _text(it, situation, answer))
        return Exit.DONE if answer.flows else Exit.FAILED


def _json(situation: Situation, answer: Answer) -> dict[str, Any]:
    wire = situation.wire
    return {
        "deployment": wire.deployment,
        "input": wire.where,
        "source": wire.source,
        "layer": wire.layer,
        "queue_size": wire.queue_size,
        "queue_policy": wire.queue_policy,
        "flows": answer.flows,
        "cause": answer.cause,
        "answer": answer.sentence,
        "remedy": answer.remedy,
        "seconds": round(situation.seconds, 2),
        **{name: vars(getattr(situation, name)) for name in ("sent", "received", "dropped")},
        "evidence": [{"what": what, "seen": seen} for what, seen in evidence(situation)],
    }


def _text(console: Console, situation: Situation, answer: Answer) -> None:
    colour = "green" if answer.flows else "red"
    console.print(f"[{colour}]{escape(answer.sentence)}[/{colour}]")
    if answer.remedy:
        console.print(f"  [cyan]try:[/cyan] {escape(answer.remedy)}")
    for what, seen in evidence(situation):
        console.print(f"  [dim]{what:9}[/dim] {escape(seen)}")
