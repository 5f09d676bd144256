"""`dora scale`: more or fewer replicas of a node, while it runs. Laptop only."""

from __future__ import annotations

import click

from deploy.store.local import LocalStore
from deploy.undertaking import Closures
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, on_fleet
from dora.cli.logs import only_deployment
from dora.cli.results import end_deployed
from dora.coordinator.cache import cache_folder
from dora.coordinator.deploy import carry_out
from dora.coordinator.scale import plan_scale
from dora.coordinator.trials import hold_trials


@click.command("scale")
@click.argument("words", nargs=-1, required=True, metavar="NODE[/OPERATOR]=N... [DEPLOYMENT]")
@files.confirm_timeout_option
@files.window_option
@files.no_rollback_option
@files.wait_option
@files.ignore_holds_option
@exiting
@on_fleet
async def command(
    words: tuple[str, ...],
    confirm_timeout: float | None,
    window: float,
    no_rollback: bool,
    wait: float,
    ignore_holds: bool,
    fleet: Fleet,
) -> Exit:
    """Run N replicas of NODE, or of an OPERATOR in it, from now on; nothing else is started anew.

    A replica that is to go works off what it was given first. The number is part of a new
    revision, which `dora rollback` goes back from; the next `dora deploy` goes back to what the
    flow file says.
    """
    counts, deployment = _parse(words)
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        name, known = only_deployment(found.sessions, deployment)
        sessions = {it.machine.id: it for it in known}
        await hold_trials(name, sessions)
        plan, changes = await plan_scale(name, sessions, counts)
        told = ", ".join(f"{node} {now} -> {then}" for node, (now, then) in changes.items())
        out.say(f"{name}: {told}")
        result = await carry_out(
            plan,
            Closures(LocalStore(str(cache_folder())), {}),  # machines have all of it
            sessions,
            rollback=not no_rollback,
            confirm_timeout=confirm_timeout,
            window=window,
            note=f"scale {told}",
            wait=wait,
            regardless=ignore_holds,
            emit=out.event,
        )
        return end_deployed(out, found, result)


def _parse(words: tuple[str, ...]) -> tuple[dict[str, int], str | None]:
    """Raises click.UsageError."""
    counts: dict[str, int] = {}
    names = []
    for word in words:
        node, equals, number = word.partition("=")
        if not equals:
            names.append(word)
        elif not (number.isascii() and number.isdigit()):
            raise click.UsageError(f"{word!r}: how many? Such as {node}=3")
        else:
            counts[node] = int(number)
    if not counts:
        raise click.UsageError("say of which node, and how many: dora scale detect=3")
    if len(names) > 1:
        raise click.UsageError(f"one deployment at a time, not {' and '.join(names)}")
    return counts, names[0] if names else None
