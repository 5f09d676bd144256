"""What `dora deploy` does with machines that have answered. Laptop only."""

from __future__ import annotations

import asyncio
from typing import Any

from dora.cli.attending import attend
from dora.cli.exits import Exit
from dora.cli.fleet import Fleet, exit_of
from dora.cli.plan import show_plan
from dora.cli.results import deployed_json, exit_of_deployed, show_deployed
from dora.cli.saved import Source
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import deploy
from dora.coordinator.prepare import Prepared, prepare
from dora.coordinator.trials import hold_trials
from dora.dataflow.model import Dataflow


async def show(name: str, dataflow: Dataflow, source: Source, fleet: Fleet, found: Contact) -> Exit:
    """What would change; nothing does."""
    show_plan(fleet.out, await _prepared(name, dataflow, source, fleet, found), found)
    return exit_of(found)


async def carry_out(
    name: str,
    dataflow: Dataflow,
    source: Source,
    fleet: Fleet,
    found: Contact,
    *,
    detach: bool,
    **options: Any,
) -> Exit:
    """Deploys, with the `options` of `dora.coordinator.deploy.deploy`; watches unless `detach`."""
    out = fleet.out
    await hold_trials(name, found.sessions)
    prepared = await _prepared(name, dataflow, source, fleet, found)
    show_plan(out, prepared, found, brief=True)
    result = await deploy(prepared, found.sessions, **options, emit=out.event)
    if out.as_json:
        write = out.result if detach else out.row  # a line each, when lines follow
        write(deployed_json(result, prepared, found), lambda console: None)
    else:
        show_deployed(out, result)
    code = exit_of_deployed(found, result)
    await asyncio.gather(*(session.rest() for session in found.sessions.values()))
    if detach or not result.healthy:
        return code
    concerned = {*prepared.profiles, *found.unreachable}
    watched = {it.id: it for it in fleet.machines if it.id in concerned}
    await attend(name, found.sessions, watched, fleet.connections, out)
    return code


async def _prepared(
    name: str, dataflow: Dataflow, source: Source, fleet: Fleet, found: Contact
) -> Prepared:
    source.check_machines(found)
    prepared = await prepare(
        name, dataflow, fleet.inventory, found.sessions, fleet.out.event, measuring=True
    )
    source.check_files(prepared, found, fleet.inventory.file)
    return prepared
