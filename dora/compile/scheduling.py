"""What machines do not let nodes have of how they are to be scheduled. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploy.facts import Facts
from dora.dataflow.model import Node


def not_allowed(
    machine: str, facts: Facts, limit: Iterable[int] | None, nodes: Iterable[Node]
) -> Iterator[str]:
    """A sentence for each node that will run otherwise than it asks for: it runs, all the same; and
    for cores of the inventory (`limit`) that are not there, or not ours to use."""
    lacking = sorted(set(limit or ()) - set(facts.cores))
    if lacking:
        plural = "cores" if len(lacking) > 1 else "core"
        numbers = ", ".join(map(str, lacking))
        yield f"{machine} has no {plural} {numbers}, which the inventory names: the others are used"
    for node in nodes:
        realtime, nice = node.deploy.realtime, node.deploy.nice
        if realtime is not None and realtime.priority > facts.realtime:
            most = f"allows priorities up to {facts.realtime}" if facts.realtime else "allows none"
            yield (
                f"{node.id} asks for real-time priority {realtime.priority}, and {machine} {most} "
                f"to {facts.user}: it will run as any other. {rtprio(facts.user)}"
            )
        if nice < 0 and nice < facts.nice:
            yield (
                f"{node.id} asks for nice {nice}, and {machine} allows {facts.nice} at least to "
                f"{facts.user}: it will run with 0. {nice_limit(facts.user)}"
            )
        asks = bool(node.cpu_affinity or node.deploy.cores)
        if asks and not facts.taskset:
            yield f"{node.id} is to be pinned, and {machine} has no taskset: it cannot start there"


def rtprio(user: str) -> str:
    """What to do so that units of the user may have real-time priorities."""
    return (
        f"Put `{user} - rtprio 99` into /etc/security/limits.d/dora.conf there, then end the "
        "supervisor (nodes live on), so that the next one has it"
    )


def nice_limit(user: str) -> str:
    return (
        f"Put `{user} - nice -20` into /etc/security/limits.d/dora.conf there, then end the "
        "supervisor (nodes live on), so that the next one has it"
    )
