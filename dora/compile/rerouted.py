"""Which edges of a running dataflow will go another way, though nobody is restarted. Pure; laptop.

What runs now is told by the documents of the profiles that machines have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deploy.profile import Profile
from dora.compile.wiring import Edge
from dora.protocol.config import NORMAL
from dora.protocol.ways import DOCUMENT, NodeWays, from_text


def ways_of(profiles: Iterable[Profile | None]) -> dict[str, NodeWays]:
    """By node; without machines that have none, or those of another version of dora."""
    found: dict[str, NodeWays] = {}
    for profile in profiles:
        try:
            found.update(from_text(profile.documents.get(DOCUMENT, "{}")) if profile else {})
        except ValueError:
            continue  # they are replaced, whatever they say
    return found


def rerouted(
    wiring: Iterable[Edge], before: Mapping[str, NodeWays], after: Mapping[str, NodeWays]
) -> dict[tuple[str, str], str]:
    """(consumer, input) -> how it is fed now, of those that will be fed in another way."""
    found = {}
    for edge in wiring:
        now, then = _way(edge, before), _way(edge, after)
        if now and then and now != then:
            found[edge.consumer, edge.input] = now
    return found


def _way(edge: Edge, ways: Mapping[str, NodeWays]) -> str:
    """`zenoh, reliable, bulk`; empty if it is not known."""
    if edge.consumer not in ways or edge.producer not in ways:
        return ""
    wired = ways[edge.consumer].inputs.get(edge.input)
    output = ways[edge.producer].outputs.get(edge.output)
    if wired is None or output is None:
        return ""
    words = [wired.layer]
    if wired.layer == "zenoh":
        words += ["reliable"] if wired.cache else []
        words += [output.priority] if output.priority != NORMAL else []
    words += [f"by {wired.at}"] if wired.at else []
    return ", ".join(words)
