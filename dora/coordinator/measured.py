"""What running nodes send and use, from their counters at two moments. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from deploy.session import Session
from dora.coordinator.contact import Contact
from dora.coordinator.rates import Look
from dora.coordinator.status import status
from dora.placement.traffic import DEFAULT_BYTES, Rate

LOOKS = 4.0  # s between the two, usually; nodes say about once a second how much they have sent


def output_rates(before: Look, after: Look) -> dict[tuple[str, str], Rate]:
    """(node, output) -> its rate. Pure. Outputs are left out of nodes that were not running all the
    time, or have said nothing. The size is that of the last message, as seen in both looks."""
    earlier = {(it.deployment, it.machine, it.node, it.pid): it for it in before.nodes}
    seconds = after.time - before.time
    found: dict[tuple[str, str], Rate] = {}
    if seconds <= 0:
        return found
    for it in after.nodes:
        past = earlier.get((it.deployment, it.machine, it.node, it.pid))
        if past is None or past.traffic is None or it.traffic is None or it.pid is None:
            continue
        for output, count in it.traffic.outputs.items():
            grown = count - past.traffic.outputs.get(output, count)
            sizes = [
                look.traffic.sizes[output]
                for look in (past, it)
                if look.traffic is not None and output in look.traffic.sizes
            ]
            size = sum(sizes) / len(sizes) if sizes else DEFAULT_BYTES
            if grown >= 0 and count:
                found[it.node, output] = Rate(grown / seconds, size)
    return found


def usages(look: Look) -> dict[str, float]:
    """Node -> the cores that it was seen to use. Pure."""
    return {it.node: it.cpu for it in look.nodes if it.cpu is not None and not it.infrastructure}


async def measure(
    name: str, sessions: Mapping[str, Session], seconds: float
) -> tuple[dict[tuple[str, str], Rate], dict[str, float]]:
    """`output_rates` and `usages` of what runs now of deployment `name`; takes `seconds`."""
    running = {
        machine: session
        for machine, session in sessions.items()
        if name in session.facts.deployments
        and session.facts.deployments[name].current is not None
        and session.facts.supervisor.get("running")
    }
    if not running:
        return {}, {}

    async def look() -> Look:
        contact = Contact(sessions=dict(running))
        return Look(time.monotonic(), (await status(contact, name)).nodes)

    before = await look()
    await asyncio.sleep(seconds)
    after = await look()
    return output_rates(before, after), usages(after)
