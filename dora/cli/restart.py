"""`dora restart`: start a node anew. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from dora.cli.exits import Exit, exit_code, exiting
from dora.cli.fleet import Fleet, exit_of, on_fleet
from dora.cli.logs import only_deployment
from dora.coordinator.restart import Restarted, restart


@click.command("restart")
@click.argument("deployment")
@click.argument("node")
@click.option("--force", is_flag=True, help="Restart although somebody holds updates up.")
@exiting
@on_fleet
async def command(deployment: str, node: str, force: bool, fleet: Fleet) -> Exit:
    """End NODE of DEPLOYMENT as a stop would, and start it again; all others keep running."""
    out = fleet.out
    async with fleet.contact() as found:
        if not found.sessions:
            return exit_of(found)
        only_deployment(found.sessions, deployment)
        rows = await restart(deployment, node, found.sessions, force=force, emit=out.event)
        data = {
            "deployment": deployment,
            "node": node,
            "machines": [_json(row) for row in rows],
            "unreachable": sorted(found.unreachable),
        }

        def text(console: Console) -> None:
            for row in rows:
                if row.error is None:
                    was = f", was {row.before}" if row.before else ""
                    pid = f", pid {row.pid}{was}" if row.pid else ""
                    console.print(f"{row.machine}: {row.unit or node} {row.state}{pid}")

        out.result(data, text)
        errors = [row.error for row in rows if row.error is not None]
        if errors:
            return exit_code(errors[0])
        # another machine that is away is no concern of this
        return Exit.FAILED if any(it.state in ("failed", "backoff") for it in rows) else Exit.DONE


def _json(row: Restarted) -> dict[str, Any]:
    return {
        "machine": row.machine,
        "unit": row.unit or None,
        "before": row.before,
        "pid": row.pid,
        "state": row.state or None,
        "error": row.error.reason if row.error else None,
    }
