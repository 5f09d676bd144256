"""Looks at all machines at once, for the checks; changes nothing there. Laptop only.

For some seconds each machine without a router listens on the port that its router would get, so
that the others can try to reach it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from deploy.errors import MachineError
from deploy.inventory import Inventory, Machine
from deploy.session import Session
from dora.compile.dataplane import address_of, router_port
from dora.coordinator.contact import Contact
from dora.coordinator.doctor.evidence import Evidence, Link, Look, Query
from dora.coordinator.doctor.supply import supplies
from dora.coordinator.onlooker import Onlooker, onlooker
from dora.coordinator.status import holds_of, locks_of
from dora.dataflow.model import Dataflow


async def gather(
    inventory: Inventory,
    machines: tuple[Machine, ...],
    found: Contact,
    dataflow: Dataflow | None = None,
) -> Evidence:
    """All that the checks want to know of `machines`, of which `found` has reached some; whether
    they can run `dataflow`, if there is one."""
    looks: dict[str, Look] = {}
    onlookers: dict[str, Onlooker] = {}
    unreachable = dict(found.unreachable)
    async with AsyncExitStack() as stack:

        async def look(name: str, session: Session) -> None:
            try:
                at = onlookers[name] = await stack.enter_async_context(onlooker(session))
                looks[name] = await session.asked_again_if_gone(lambda: _look(session, at))
            except MachineError as error:
                unreachable[name] = error
                looks.pop(name, None)

        await asyncio.gather(*(look(name, it) for name, it in found.sessions.items()))
        links = await _links(looks, onlookers, unreachable)
    seen = {machine.id: looks[machine.id] for machine in machines if machine.id in looks}
    wheels = await supplies(seen, dataflow)
    return Evidence(inventory, machines, seen, unreachable, links, wheels)


async def _look(session: Session, at: Onlooker) -> Look:
    facts = session.facts
    query = Query.from_json(session.machine.id, await at.facts(facts.root))
    clock = await at.clock()
    running = bool(facts.supervisor.get("running"))
    routers: dict[str, int] = {}
    for name in facts.deployments:
        port = router_port(await session.profile(name))
        if port is not None and running:
            routers[name] = port
    port = None if routers else await at.listen(facts.free_ports)
    return Look(
        machine=session.machine,
        facts=facts,
        query=query,
        clock=clock,
        now=time.time(),
        ours=session.runs_our_supervisor,
        boot=None if session.machine.embedded else (await session.autostart("status")).get("way"),
        holds=await holds_of(session),
        locks=await locks_of(session),
        shortfalls=await _shortfalls(session),
        routers=routers,
        port=port,
    )


async def _shortfalls(session: Session) -> dict[str, str]:
    """Units that do not run on the cores, or with the priority, that they ask for; of none where no
    supervisor runs."""
    if not session.facts.supervisor.get("running"):
        return {}
    units = (await session.request("status"))["units"]
    return {
        f"{unit['name']} of {unit['deployment']}": str(unit["shortfall"])
        for unit in units
        if unit.get("shortfall")
    }


async def _links(
    looks: Mapping[str, Look], onlookers: Mapping[str, Onlooker], lost: dict[str, MachineError]
) -> tuple[Link, ...]:
    """Everybody asks everybody else. Who cannot ask is noted in `lost`."""

    async def ask(source: str) -> list[Link]:
        wanted = [link for name in looks if name != source for link in _wanted(source, looks[name])]
        if not wanted:
            return []
        try:
            reached = await onlookers[source].reach([(link.host, link.port) for link in wanted])
        except MachineError as error:
            lost[source] = error
            return []
        return [replace(link, reached=it) for link, it in zip(wanted, reached, strict=True)]

    rows = await asyncio.gather(*map(ask, looks))
    return tuple(link for row in rows for link in row)


def _wanted(source: str, target: Look) -> list[Link]:
    """What `source` is to try: the routers that are there, else the port that stands for one."""
    host, name = address_of(target.machine), target.machine.id
    ports: list[tuple[str | None, int]] = [*target.routers.items()]
    if target.port is not None:
        ports.append((None, target.port))
    return [Link(source, name, host, port, it) for it, port in ports]
