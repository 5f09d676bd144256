"""What was seen around an edge, in words. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator

from dora.coordinator.onlooker import TCP
from dora.coordinator.status import NodeStatus
from dora.coordinator.why.situation import Situation
from dora.coordinator.why.wording import clock, number, silence
from dora.coordinator.wires import Count


def evidence(situation: Situation) -> Iterator[tuple[str, str]]:
    """What was seen, in the order of the way that data takes: (what, how it is)."""
    wire = situation.wire
    queue = "" if wire.queue_size is None else f", queue of {wire.queue_size} {wire.queue_policy}"
    timeout = f", input_timeout {wire.timeout:g} s" if wire.timeout else ""
    yield "edge", f"{wire.source} -> {wire.where}, {wire.layer}{queue}{timeout}"
    if situation.producer is not None:
        for node in (situation.producer, *situation.replicas):
            yield "producer", _process(node)
        yield "sent", _count(situation.sent, situation.seconds)
    for machine, router in situation.routers.items():
        yield "router", f"{machine}: {_process(router)}"
    for way in situation.ways:
        took = way.reached.milliseconds
        how = f"answers in {took:.1f} ms" if took is not None else silence(way)
        by = " by TCP" if way.protocol == TCP else ""
        yield "link", f"{way.source} -> {way.target}{by}: {how}"
    yield "consumer", _process(situation.consumer)
    yield "received", _count(situation.received, situation.seconds)
    yield "dropped", _count(situation.dropped, situation.seconds)


def _process(node: NodeStatus) -> str:
    since = f" since {clock(node.since)}" if node.since is not None else ""
    restarts = f", {node.restarts} restarts" if node.restarts else ""
    error = f"; {node.error}" if node.error else ""
    last = f"; last line: {node.last_lines[-1]}" if node.last_lines else ""
    return f"{node.node} on {node.machine}: {node.state}{since}{restarts}{error}{last}"


def _count(count: Count, seconds: float) -> str:
    if count.total is None:
        return "nobody has said"
    rate = "" if count.rate is None else f", {number(count.rate)} a second in {seconds:.0f} s"
    return f"{count.total} since its process started{rate}"
