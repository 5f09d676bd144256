"""How many replicas of a node each machine may have, so that they are spread. Pure; laptop only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dora.placement.groups import Group, Situation, candidates

Limits = dict[str, tuple[int, ...]]  # node -> the most of its parts that each host may have


def limits(situation: Situation, groups: Sequence[Group]) -> Iterator[Limits]:
    """Of nodes whose replicas are spread: first as even as the machines that would do allow, then
    looser and looser, for what else is asked of these machines."""
    even = {
        node: _even(situation, groups, node)
        for node, parts in situation.parts.items()
        if len(parts) > 1
    }
    more = 0
    while True:
        yield {node: tuple(it + more for it in each) for node, each in even.items()}
        if all(min(each) + more >= len(situation.parts[node]) for node, each in even.items()):
            return
        more = 2 * more or 1


def limits_of(situation: Situation, machine_of: Mapping[str, str]) -> Limits:
    """Those that a placement (part -> machine) keeps to."""
    found: Limits = {}
    for node, parts in situation.parts.items():
        if len(parts) > 1:
            most = max(Counter(machine_of[part] for part in parts).values())
            found[node] = (most,) * len(situation.hosts)
    return found


def _even(situation: Situation, groups: Sequence[Group], node: str) -> tuple[int, ...]:
    """One each; of more replicas than machines, what is left over goes where most are, then to the
    largest."""
    parts = situation.parts[node]
    mine = [group for group in groups if node in group.of]
    least = max(group.of.count(node) for group in mine)
    hosts = {host for group in mine for host in candidates(group, situation)}
    if len(parts) <= len(hosts):
        return (least,) * len(situation.hosts)
    each, left = divmod(len(parts), max(1, len(hosts)))
    now = Counter((situation.running or {}).get(part, "") for part in parts)
    ranked = sorted(
        hosts,
        key=lambda host: (
            -now[situation.hosts[host].id],
            -situation.hosts[host].usable,
            host,
        ),
    )
    return tuple(max(least, each + (host in ranked[:left])) for host in range(len(situation.hosts)))
