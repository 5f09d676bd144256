"""`dora doctor`: what is in the way on all machines, each with its remedy. Laptop only."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from deploy.events import ignore
from dora.cli import files
from dora.cli.exits import Exit, exiting
from dora.cli.fleet import Fleet, on_fleet
from dora.coordinator.doctor.diagnose import Diagnosis, diagnose
from dora.coordinator.doctor.evidence import Evidence, Link, Look, Supply
from dora.coordinator.doctor.finding import Finding, Severity
from dora.coordinator.doctor.gather import gather

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


@click.command("doctor")
@click.argument("flow", required=False, type=click.Path(exists=True, dir_okay=False))
@exiting
@on_fleet
async def command(fleet: Fleet, flow: str | None) -> Exit:
    """Examine all machines: what keeps dataflows from running, or will, and what to do about it.

    Machines try to reach each other's data plane, and the Python packages that nodes need are
    looked for: those of FLOW, where it may run, else what every node needs. Where FLOW has inputs
    with `link: direct`, TCP is tried, too. Nothing is changed.
    Exit code 0 without errors, 4 if a machine does not answer, else 1.
    """
    out = fleet.out
    dataflow = None if flow is None else files.read_flow(flow, out)
    async with fleet.contact(emit=ignore) as found:  # who does not answer is a finding here
        evidence = await gather(fleet.inventory, fleet.machines, found, dataflow)
        diagnosis = diagnose(evidence)
        out.result(_json(evidence, diagnosis), lambda it: _text(it, evidence, diagnosis))
        if found.required_unreachable:
            return Exit.UNREACHABLE
        return Exit.DONE if diagnosis.healthy else Exit.FAILED


def _json(evidence: Evidence, diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "healthy": diagnosis.healthy,
        "machines": {
            name: {
                "answers": name in evidence.looks,
                "findings": [_finding(it) for it in findings],
                **(_seen(evidence.looks[name]) if name in evidence.looks else {}),
                "packages": [_supply(it) for it in evidence.supplies.get(name, ())],
            }
            for name, findings in diagnosis.machines.items()
        },
        "links": [_link(link) for link in evidence.links],
        "findings": [_finding(it) for it in diagnosis.fleet],
    }


def _seen(look: Look) -> dict[str, Any]:
    return {
        "python": ".".join(map(str, look.facts.python_version)),
        "clock_offset": round(look.clock.ahead, 4),
        "clock_error": round(look.clock.error, 4),
        "supervisor": bool(look.facts.supervisor.get("running")),
        "supervisor_is_ours": look.ours,
        "boot": look.boot,
        "sshd": dict(look.query.sshd),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "problem": finding.problem,
        "remedy": finding.remedy,
    }


def _supply(supply: Supply) -> dict[str, Any]:
    return {"nodes": list(supply.nodes), "from": supply.origin}


def _link(link: Link) -> dict[str, Any]:
    return {
        "from": link.source,
        "to": link.target,
        "host": link.host,
        "port": link.port,
        "protocol": link.protocol,
        "deployment": link.deployment,
        "ms": link.reached.milliseconds,
        "error": link.reached.error,
    }


def _text(console: Console, evidence: Evidence, diagnosis: Diagnosis) -> None:
    for finding in diagnosis.fleet:
        _say(console, finding)
    for name, findings in diagnosis.machines.items():
        console.print(_head(name, evidence.looks.get(name), findings))
        for finding in findings:
            _say(console, finding)
    if evidence.links:
        reached = [link for link in evidence.links if link.reached.error is None]
        console.print(
            f"data plane: {len(reached)} of {len(evidence.links)} ways between machines work"
        )
    counts = {it: sum(one.severity is it for one in diagnosis.all) for it in Severity}
    found = [f"{n} {it.value}{'s' * (n != 1)}" for it, n in counts.items() if n]
    console.print(", ".join(found) or "nothing is in the way")


def _head(name: str, look: Look | None, findings: tuple[Finding, ...]) -> str:
    colour = "green"
    if findings and findings[0].severity is not Severity.NOTE:
        colour = COLOURS[findings[0].severity]
    if look is None:
        return f"[{colour}]{name}[/{colour}]"
    version = ".".join(map(str, look.facts.python_version))
    state = "runs" if look.facts.supervisor.get("running") else "does not run"
    return (
        f"[{colour}]{name}[/{colour}]: {look.facts.user}@{look.facts.hostname}, Python {version}, "
        f"clock {look.clock.ahead:+.3f} s, supervisor {state}"
    )


def _say(console: Console, finding: Finding) -> None:
    colour = COLOURS[finding.severity]
    word = finding.severity.value
    console.print(f"  [{colour}]{word}:[/{colour}] {escape(finding.problem)}")
    console.print(f"    [cyan]try:[/cyan] {escape(finding.remedy)}")
