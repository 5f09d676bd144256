"""What running nodes send and use, from their counters at two moments. Laptop only."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from deploy.session import Session
from dora.coordinator.contact import Contact
from dora.coordinator.rates import Look
from dora.coordinator.status import status
from dora.placement.traffic import DEFAULT_BYTES, Rate

LOOKS = 4.0  # s between the two, usually; nodes say about once a second how much they have sent


def output_rates(
    before: Look, after: Look, source: Callable[[str], str] = str
) -> dict[tuple[str, str], Rate]:
    """(node, output) -> its rate. Pure. Outputs are left out of nodes that were not running all the
    time, or have said nothing. The size is that of the last message, as seen in both looks.

    `source` tells of which node something is a replica. A node sends what all its replicas send;
    those of which nothing is known are taken to send as the others do.
    """
    earlier = {(it.deployment, it.machine, it.node, it.pid): it for it in before.nodes}
    seconds = after.time - before.time
    if seconds <= 0:
        return {}
    seen: dict[tuple[str, str], list[Rate]] = {}
    running, known = Counter[str](), Counter[str]()
    for it in after.nodes:
        if it.pid is None:
            continue
        running[source(it.node)] += 1
        past = earlier.get((it.deployment, it.machine, it.node, it.pid))
        if past is None or past.traffic is None or it.traffic is None:
            continue
        known[source(it.node)] += 1
        for output, count in it.traffic.outputs.items():
            grown = count - past.traffic.outputs.get(output, count)
            sizes = [
                look.traffic.sizes[output]
                for look in (past, it)
                if look.traffic is not None and output in look.traffic.sizes
            ]
            size = sum(sizes) / len(sizes) if sizes else DEFAULT_BYTES
            if grown >= 0 and count:
                seen.setdefault((source(it.node), output), []).append(Rate(grown / seconds, size))
    return {
        (node, output): _together(rates, running[node] / known[node])
        for (node, output), rates in seen.items()
    }


def _together(rates: Sequence[Rate], factor: float) -> Rate:
    """Of all replicas, given those of some, and how many times as many there are."""
    hz = sum(it.hz for it in rates)
    if hz:
        size = sum(it.hz * it.bytes for it in rates) / hz
    else:
        size = sum(it.bytes for it in rates) / len(rates)
    return Rate(hz * factor, size)


def usages(look: Look, source: Callable[[str], str] = str) -> dict[str, float]:
    """Node -> the cores that it was seen to use, with all its replicas. Pure."""
    found: dict[str, float] = {}
    for it in look.nodes:
        if it.cpu is not None and not it.infrastructure:
            found[source(it.node)] = found.get(source(it.node), 0.0) + it.cpu
    return found


async def measure(
    name: str,
    sessions: Mapping[str, Session],
    seconds: float,
    source: Callable[[str], str] = str,
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
    return output_rates(before, after, source), usages(after, source)
