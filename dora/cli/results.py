"""How the result of a deployment is told, as text and as JSON. Laptop only."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from deploy.undertaking import MachineResult
from dora.cli.exits import Exit, exit_code
from dora.cli.fleet import exit_of
from dora.cli.output import Output
from dora.cli.progress import unconfirmed
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import Deployed
from dora.coordinator.prepare import Prepared
from dora.coordinator.watch import Line

COLOURS = {
    "unchanged": "dim",
    "deployed": "green",
    "failed": "red",
    "held": "yellow",
    "skipped": "yellow",
    "rolled_back": "yellow",
    "unconfirmed": "yellow",
}


SHOWN = 5  # of the last lines of a unit that failed; all that are kept are in the JSON


def show_deployed(out: Output, result: Deployed) -> None:
    for row in result.machines:
        colour, word = COLOURS[row.outcome], row.outcome.replace("_", " ")
        running = sum(state.get("state") == "running" for state in row.units.values())
        parts = [f"generation {row.generation}"] if row.generation else []
        if row.outcome == "unconfirmed" and row.back_at is not None:
            parts = [unconfirmed(row.back_at)]
        parts += [f"{running} running"] if running else []
        out.say(f"[{colour}]{row.machine}: {word}[/{colour}] {', '.join(parts)}")
        for unit, why in row.unhealthy.items():
            out.say(f"  [red]{unit}[/red] {escape(why)}; see: dora logs {result.name} -n {unit}")
            for line in row.last_lines.get(unit, ())[-SHOWN:]:
                out.say(f"    [dim]{escape(line)}[/dim]")
        for unit, why in row.unrestored.items():
            out.say(f"  [red]{unit} does not run again:[/red] {escape(why)}")


def show_line(out: Output, line: Line) -> None:
    """A line that a node printed, while it is watched."""
    data = {"machine": line.machine, "node": line.unit, "line": line.text}
    out.row(data, lambda console: out.line(line.unit, line.text))


def deployed_json(result: Deployed, prepared: Prepared | None, found: Contact) -> dict[str, Any]:
    """`prepared` is None where no files were read."""
    machines = [_machine_json(row) for row in result.machines]
    for name, error in found.unreachable.items():
        machines.append(
            {
                "machine": name,
                "outcome": "unreachable",
                "error": error.reason,
                "hint": error.hint,
            }
        )
    return {
        "deployment": result.name,
        "outcome": _outcome(result, found),
        "changed": any(row.outcome != "unchanged" for row in result.machines),
        "machines": machines,
        "nodes": {
            node: {"machine": it.machine, "reason": it.reason}
            for node, it in prepared.placement.assignments.items()
        }
        if prepared is not None
        else {},
    }


def _outcome(result: Deployed, found: Contact) -> str:
    for outcome in ("unconfirmed", "rolled_back", "held"):
        if any(row.outcome == outcome for row in result.machines):
            return outcome
    if not result.healthy:
        return "failed"
    if found.unreachable:
        return "partly_unreachable"
    changed = any(row.outcome != "unchanged" for row in result.machines)
    return "deployed" if changed else "unchanged"


def _machine_json(row: MachineResult) -> dict[str, Any]:
    return {
        "machine": row.machine,
        "outcome": row.outcome,
        "generation": row.generation,
        "previous": row.previous,
        "failed_generation": row.failed,
        "reason": row.reason,
        "back_at": row.back_at,
        "bytes": row.bytes,
        "error": row.error.reason if row.error else None,
        "hint": row.error.hint if row.error else None,
        "unhealthy": dict(row.unhealthy),
        "last_lines": {unit: list(lines) for unit, lines in row.last_lines.items()},
        "unrestored": dict(row.unrestored),
        "units": {
            name: {"state": state.get("state"), "pid": state.get("pid")}
            for name, state in row.units.items()
        },
    }


def end_deployed(out: Output, found: Contact, result: Deployed) -> Exit:
    """The end of a command that deployed without reading files: its result, and its exit code."""
    out.result(deployed_json(result, None, found), lambda console: None)
    if not out.as_json:
        show_deployed(out, result)
    return exit_of_deployed(found, result)


def exit_of_deployed(found: Contact, result: Deployed) -> Exit:
    """What a deployment, or the way back from one, means to the shell."""
    if result.healthy:
        return exit_of(found)
    codes = [exit_code(row.error) for row in result.machines if row.error is not None]
    if Exit.CONFLICT in codes:
        return Exit.CONFLICT
    return Exit.ROLLED_BACK if result.rolled_back else Exit.FAILED
