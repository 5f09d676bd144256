"""Events of `deploy` -> one line of text each, or none. Pure; laptop only."""

from __future__ import annotations

import time
from typing import Any

from rich.markup import escape

from deploy import events
from deploy.proof import check_failed, health


def describe(event: events.Event, *, verbose: bool) -> str | None:
    """Rich markup for an event; None when it is not worth a line at this verbosity."""
    match event:
        case events.Connected(machine, seconds):
            return f"[dim]{machine}: connected in {seconds:.2f} s[/dim]" if verbose else None
        case events.Unreachable(machine, error):
            hint = f"\n  [cyan]try:[/cyan] {escape(error.hint)}" if error.hint else ""
            return f"[red]{machine}: unreachable:[/red] {escape(error.reason)}{hint}"
        case events.Measuring(seconds):
            return f"[dim]watching for {seconds:g} s what nodes send[/dim]"
        case events.Building(what):
            return f"[dim]building {escape(what)}[/dim]"
        case events.Copying():
            return None  # a bar's business; lines would be too many
        case events.Copied(machine, size, seconds):
            if not size:
                return None
            rate = size / max(seconds, 1e-3)
            return f"{machine}: copied {human_bytes(size)} at {human_bytes(rate)}/s"
        case events.Waiting(machine, error):
            return f"[yellow]{machine}: waits:[/yellow] {escape(error.reason)}"
        case events.Activated(machine, generation, started, restarted, stopped, kept):
            parts = [
                f"{len(units)} {word}"
                for word, units in (
                    ("started", started),
                    ("restarted", restarted),
                    ("stopped", stopped),
                    ("kept", kept),
                )
                if units
            ]
            return f"{machine}: generation {generation}: {', '.join(parts) or 'nothing to run'}"
        case events.UnitChanged(machine, state):
            return _unit(machine, dict(state), verbose)
        case events.RolledBack(machine, number):
            what = f"runs generation {number} again" if number else "runs nothing, as before"
            return f"[yellow]{machine}: rolled back:[/yellow] {what}"
        case events.Unconfirmed(machine, back_at):
            return f"[yellow]{machine}: {unconfirmed(back_at)}[/yellow]"
        case events.MachineFailed(machine, error):
            hint = f"\n  [cyan]try:[/cyan] {escape(error.hint)}" if error.hint else ""
            return f"[red]{machine}:[/red] {escape(error.reason)}{hint}"
        case events.LinkLost(machine, since, reason):
            at = time.strftime("%H:%M:%S", time.localtime(since))
            return f"[yellow]{machine}: unknown since {at}[/yellow] ({escape(reason)})"
        case events.LinkBack(machine, away):
            return f"[green]{machine}: back after {away:.1f} s[/green]"


def _unit(machine: str, state: dict[str, Any], verbose: bool) -> str | None:
    name, word = state["name"], state["state"]
    if check_failed(state):
        return f"[red]{machine}: {name} {escape(state['health']['error'])}[/red]"
    if word == "running":
        return f"[green]{machine}: {name} running[/green], pid {state['pid']}"
    why = health(state)
    if word in ("failed", "backoff") and why:
        return f"[red]{machine}: {name} {word}:[/red] {escape(why)}"
    return f"[dim]{machine}: {name} {word}[/dim]" if verbose or word == "ended" else None


def unconfirmed(back_at: float) -> str:
    """Of a machine that does not answer while a generation is on trial there."""
    at = time.strftime("%H:%M:%S", time.localtime(back_at))
    return f"unknown: goes back by itself at {at} unless confirmed"


def human_bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
