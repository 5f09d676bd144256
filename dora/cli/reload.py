"""`dora reload`: have a running operator's file read again. Laptop only."""

from __future__ import annotations

import click

from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.reload import reload

WORDS = {
    True: "reads its file again, and goes on with its attributes",
    False: "goes on with the code that it has: `dora logs` says why",
    None: "its runtime did not answer: is it a node that hosts operators?",
}


@click.command("reload")
@click.argument("operator", metavar="NODE/OPERATOR")
@click.argument("deployment", required=False)
@exiting
@on_fleet
async def command(operator: str, deployment: str | None, fleet: Fleet) -> Exit:
    """Have a running operator of DEPLOYMENT read its file again. Its neighbours run on.

    Code that was changed on this machine comes with `dora deploy`, which does the same.
    """
    out = fleet.out
    node, _, name = operator.partition("/")
    if not node or not name or "/" in name:
        raise click.UsageError(f"{operator!r} must name a node and its operator: NODE/OPERATOR")
    async with fleet.contact() as found:
        if not found.sessions:
            return Exit.UNREACHABLE
        chosen, _ = only_deployment(found.sessions, deployment)
        rows = await reload(chosen, node, name, found.sessions, out.event)
        data = {
            "deployment": chosen,
            "operator": operator,
            "machines": [
                {
                    "machine": row.machine,
                    "reloaded": row.worked,
                    "error": row.error.reason if row.error else None,
                }
                for row in rows
            ],
            "unreachable": sorted(found.unreachable),
        }

        def text(console: object) -> None:
            for row in rows:
                if row.error is None:
                    out.say(f"{row.machine}: {operator} {WORDS[row.worked]}")
            if not rows:
                out.say(f"no machine runs node {node!r} of {chosen!r}; see `dora status`")

        out.result(data, text)
        codes = [exit_code(row.error) for row in rows if row.error]
        if codes:
            return codes[0]
        return exit_of(found) if rows and all(row.worked for row in rows) else Exit.FAILED
