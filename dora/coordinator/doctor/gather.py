"""Looks at all machines at once, for the checks; changes nothing there. Laptop only.

For some seconds each machine without a router listens on the port that its router would get, so
that the others can try to reach it: by UDP, and by TCP if the flow in question has `link: direct`.
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
from dora.compile.dataplane import address_of, router_port, router_told
from dora.compile.naming import deployment_name
from dora.coordinator.contact import Contact
from dora.coordinator.doctor.callers import calls, may_be_called, may_call
from dora.coordinator.doctor.evidence import Evidence, Link, Look, Query
from dora.coordinator.doctor.supply import supplies
from dora.coordinator.onlooker import TCP, UDP, Onlooker, onlooker
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
                its = await session.asked_again_if_gone(lambda: _look(session, at))
                looks[name] = await listening(its, at, dataflow)
            except MachineError as error:
                unreachable[name] = error
                looks.pop(name, None)

        await asyncio.gather(*(look(name, it) for name, it in found.sessions.items()))
        links = await _links(looks, onlookers, unreachable, dataflow)
    seen = {machine.id: looks[machine.id] for machine in machines if machine.id in looks}
    wheels = await supplies(seen, dataflow)
    return Evidence(inventory, machines, seen, unreachable, links, wheels)


async def _look(session: Session, at: Onlooker) -> Look:
    machine, facts = session.machine, session.facts
    query = Query.from_json(machine.id, await at.facts(facts.root))
    clock = await at.clock()
    running = bool(facts.supervisor.get("running"))
    routers: dict[str, int] = {}
    doors: set[str] = set()
    called: dict[str, Mapping[str, tuple[str, ...]] | None] = {}
    for name in facts.deployments if running else ():
        profile = await session.profile(name)
        port, told = router_port(profile), router_told(profile)
        if profile is None or port is None or told is None:
            continue
        routers[name] = port
        called[name] = calls(profile)
        if told.door:
            doors.add(name)
    return Look(
        machine=machine,
        facts=facts,
        query=query,
        clock=clock,
        now=time.time(),
        ours=session.runs_our_supervisor,
        boot=None if machine.embedded else (await session.autostart("status")).get("way"),
        holds=await holds_of(session),
        locks=await locks_of(session),
        shortfalls=await _shortfalls(session),
        routers=routers,
        doors=frozenset(doors),
        calls=called,
    )


async def listening(look: Look, at: Onlooker, dataflow: Dataflow | None) -> Look:
    """From now on the machine answers in place of routers that it does not run; the port is that of
    the router that `dataflow` has there already, else the first free one. Raises MachineError."""
    wanted = set() if look.routers else {UDP}
    ports = look.facts.free_ports
    if dataflow is not None and may_be_called(dataflow, look.machine):
        name = deployment_name(dataflow.file)
        if name not in look.doors:
            wanted.add(TCP)
            ports = (look.routers[name],) if name in look.routers else ports
    port = await at.listen(ports, wanted) if wanted else None
    return replace(
        look,
        port=port if UDP in wanted else None,
        door=port if TCP in wanted else None,
        no_door=ports if TCP in wanted and port is None else (),
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
    looks: Mapping[str, Look],
    onlookers: Mapping[str, Onlooker],
    lost: dict[str, MachineError],
    dataflow: Dataflow | None,
) -> tuple[Link, ...]:
    """Everybody asks everybody else; by TCP who would call. Who cannot ask is noted in `lost`."""

    async def ask(source: str) -> list[Link]:
        others = [look for name, look in looks.items() if name != source]
        wanted = [link for it in others for link in links_to_try(looks[source], it, dataflow)]
        if not wanted:
            return []
        targets = [(link.host, link.port, link.protocol) for link in wanted]
        try:
            reached = await onlookers[source].reach(targets)
        except MachineError as error:
            lost[source] = error
            return []
        return [replace(link, reached=it) for link, it in zip(wanted, reached, strict=True)]

    rows = await asyncio.gather(*map(ask, looks))
    return tuple(link for row in rows for link in row)


def links_to_try(source: Look, target: Look, dataflow: Dataflow | None = None) -> list[Link]:
    """By UDP the routers that are there, else the port that stands for one. By TCP what nodes on
    `source` call, or would call with `dataflow`. Pure."""
    host, name = address_of(target.machine), target.machine.id
    plain = Link(source.machine.id, name, host, 0)
    found = [
        replace(plain, port=port, deployment=deployment)
        for deployment, port in target.routers.items()
    ]
    if target.port is not None:
        found.append(replace(plain, port=target.port))
    by_tcp = replace(plain, protocol=TCP)
    for deployment in sorted(target.doors & source.calls.keys()):
        its = source.calls[deployment]
        if its is None or name in its:
            port, inputs = target.routers[deployment], (its or {}).get(name, ())
            found.append(replace(by_tcp, port=port, deployment=deployment, inputs=inputs))
    if target.door is not None and dataflow is not None:
        inputs = may_call(dataflow, source.machine, target.machine)
        if inputs:
            found.append(replace(by_tcp, port=target.door, inputs=inputs))
    return found
