"""Why a node is where it is, in a short sentence. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Sequence

from dora.dataflow.model import Dataflow
from dora.placement.groups import Group, Situation, candidates, staying
from dora.placement.model import Assignment
from dora.placement.traffic import told
from dora.placement.wishes import counted

STAYS = "runs there already"


def reasons(
    dataflow: Dataflow, groups: Sequence[Group], situation: Situation, at: Sequence[int]
) -> dict[str, Assignment]:
    """The assignment of each node; `at` is the host of each group."""
    found: dict[str, Assignment] = {}
    machine_of = {
        node: situation.hosts[host].id
        for group, host in zip(groups, at, strict=True)
        for node in group.nodes
    }
    count = dict.fromkeys(range(len(situation.hosts)), 0)
    choices = [candidates(group, situation) for group in groups]
    order = sorted(
        range(len(groups)),
        key=lambda item: (
            len(choices[item]) != 1,
            staying(groups[item], situation) != at[item],
        ),
    )
    for item in order:
        group, host = groups[item], situation.hosts[at[item]]
        if staying(group, situation) == at[item]:
            why = STAYS
        elif not host.answers:
            why = "is away, and nothing else will do"
        elif len(choices[item]) == 1:
            why = "the only one that fits"
        else:
            nodes, cores = counted(count[at[item]], "node"), counted(host.usable, "core")
            why = _spoken(group, situation, machine_of) or f"least loaded: {nodes} on {cores}"
        count[at[item]] += len(group.nodes)
        for node in group.nodes:
            of = situation.nodes[node]
            found[node] = Assignment(host.id, _reason(dataflow, of, group, why))
    return found


def _spoken(group: Group, situation: Situation, machine_of: dict[str, str]) -> str | None:
    """That a group is with what it speaks to; names who it speaks to most."""
    here = machine_of[group.nodes[0]]
    spared: dict[str, float] = {}
    for flow in situation.flows:
        ends = {flow.producer, *flow.readers}
        if not ends & set(group.nodes):
            continue
        others = ends - set(group.nodes) if flow.producer in group.nodes else {flow.producer}
        for other in others - set(group.nodes):
            if machine_of[other] == here:
                spared[other] = spared.get(other, 0.0) + flow.bytes_per_second
    if not spared:
        return None
    most = min(spared, key=lambda node: (-spared[node], node))
    return f"with {most}: {told(spared[most])} stay off the network"


def _reason(dataflow: Dataflow, id: str, group: Group, why: str) -> str:
    node = dataflow.nodes[id]
    if node.deploy.machine:
        return "the flow file names it"
    if node.deploy.near:
        return f"near {node.deploy.near}"
    if named := [wish.node for wish in group.wishes if wish.kind == "machine"]:
        return f"{named[0]} is to be near it"
    labels = list(dict.fromkeys(it.text for it in group.wishes if it.kind == "label"))
    devices = list(dict.fromkeys(it.text for it in group.wishes if it.kind == "device"))
    if labels or devices:
        return f"has {', '.join([*labels, *devices])}; {why}"
    return why
