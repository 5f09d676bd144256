"""Watching a deployment until Ctrl-C: lines of nodes, states, links. Laptop only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, MutableMapping
from typing import Any

from deploy import events
from deploy.connection.base import Connector
from deploy.inventory import Machine
from deploy.session import Session
from dora.cli.output import Output
from dora.cli.results import show_line
from dora.coordinator.watch import watch


async def attend(
    name: str,
    sessions: MutableMapping[str, Session],
    machines: Mapping[str, Machine],
    connect: Connector,
    out: Output,
) -> None:
    """Shows what happens on these machines until Ctrl-C or SIGTERM; nothing that runs is touched.
    Those that do not answer are tried again and again."""
    out.say(f"[dim]watching {name}; Ctrl-C detaches and leaves it running[/dim]")

    def emit(event: events.Event) -> None:
        out.event(event)
        match event:
            case events.UnitChanged(machine, {"state": "gone", "name": name}) if not out.verbose:
                out.say(f"[dim]{machine}: {name} is gone[/dim]")
        if out.as_json and (row := event_json(event)):
            out.row(row, lambda console: None)

    task = asyncio.ensure_future(
        watch(name, sessions, machines, connect, emit, lambda line: show_line(out, line))
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        out.say(
            f"detached; {name} keeps running.  dora status · dora logs -f {name} · dora stop {name}"
        )


def event_json(event: events.Event) -> dict[str, Any] | None:
    """A line for a program; None for what is no news of a unit or a link."""
    match event:
        case events.UnitChanged(machine, state):
            keys = ("state", "pid", "since", "restarts", "exit", "error")
            return {
                "machine": machine,
                "node": state["name"],
                **{key: state.get(key) for key in keys},
            }
        case events.LinkLost(machine, since, reason):
            return {"machine": machine, "link": "unknown", "since": since, "error": reason}
        case events.LinkBack(machine, away):
            return {"machine": machine, "link": "up", "away": away}
    return None
