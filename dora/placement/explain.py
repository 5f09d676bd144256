"""Why a node is where it is, and what each other machine would have meant. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dora.dataflow.model import Dataflow
from dora.placement.groups import Group, Situation, candidates, groups_of, problem_of
from dora.placement.hosts import Host
from dora.placement.problem import TOLERANCE, Problem
from dora.placement.spread import limits_of
from dora.placement.traffic import Flow, over_network, told
from dora.placement.wishes import AWAY, counted, lacks, wishes_of
from dora.placement.work import Work


@dataclass(frozen=True)
class Option:
    """A machine that a group of nodes does not have. `traffic` is what it would add, in bytes a
    second over the network, if all others stayed; None where the machine is out of the question."""

    machine: str
    traffic: float | None
    why: str


@dataclass(frozen=True)
class Explanation:
    nodes: tuple[str, ...]  # that go together
    machine: str
    reason: str
    wishes: tuple[str, ...]  # what the file asks for
    options: tuple[Option, ...]


def explain(
    dataflow: Dataflow, situation: Situation, placement: Mapping[str, str], why: Mapping[str, str]
) -> tuple[Explanation, ...]:
    """In the order of the file. `placement` is part -> machine, `why` part -> reason."""
    wishes = wishes_of(dataflow, situation.platforms, situation.packed)
    groups = groups_of(situation, wishes)
    at = situation.at(groups, placement)
    problem = problem_of(situation, groups, keep=False, most=limits_of(situation, placement))
    work = Work(problem, at)
    return tuple(
        Explanation(
            group.nodes,
            placement[group.nodes[0]],
            why[group.nodes[0]],
            tuple(dict.fromkeys(wish.told for wish in group.wishes)),
            tuple(
                _option(situation, groups, work, item, host)
                for host in problem.hosts
                if host != at[item]
            ),
        )
        for item, group in enumerate(groups)
    )


def _option(
    situation: Situation, groups: Sequence[Group], work: Work, item: int, number: int
) -> Option:
    group, host = groups[item], situation.hosts[number]
    problem = work.problem
    if number not in problem.permitted[item]:
        return Option(host.id, None, _excluded(group, host, situation))
    here = work.take(item)
    possible = work.may(item, number)
    spent, asked = work.price(item, here), work.price(item, number)
    work.put(item, here)
    if not possible:
        return Option(host.id, None, _full(problem, groups, work, item, number, host))
    machine_of = {
        node: situation.hosts[it].id
        for its, it in zip(groups, work.at, strict=True)
        for node in its.nodes
    }
    more = _network(situation.flows, {**machine_of, **dict.fromkeys(group.nodes, host.id)})
    more -= _network(situation.flows, machine_of)
    if asked < spent - TOLERANCE:
        why = "better now; `dora rebalance` moves what runs"
    elif more > 0:
        why = f"{told(more)} more over the network"
    elif more < 0:
        why = f"{told(-more)} less over the network, but over slower links, or it is crowded"
    else:
        why = "no less over the network, and no emptier"
    return Option(host.id, more, why)


def _network(flows: Sequence[Flow], machine_of: Mapping[str, str]) -> float:
    return sum(over_network(flow, machine_of) for flow in flows)


def _excluded(group: Group, host: Host, situation: Situation) -> str:
    for wish in group.wishes:
        if wish.kind == "machine" and wish.text != host.id:
            return f"{wish.told}"
    if why := lacks(group.wishes, host):
        return " and ".join(why)
    hosts = [situation.hosts[it].id for it in candidates(group, situation)]
    return f"{AWAY}, and what runs there must not run twice: {', '.join(hosts)}"


def _full(
    problem: Problem, groups: Sequence[Group], work: Work, item: int, number: int, host: Host
) -> str:
    apart = [
        node
        for other in problem.apart[item]
        if work.at[other] == number
        for node in groups[other].nodes
    ]
    if apart:
        return f"is to be apart from {', '.join(apart)}, there"
    there = [problem.needs[other] for other in problem.items if work.at[other] == number]
    cores, memory, *_ = [
        sum(needs[kind] for needs in (*there, problem.needs[item])) > most + TOLERANCE
        for kind, most in enumerate(problem.capacities[number])
    ]
    if cores:
        left = int(host.alone - sum(needs[0] for needs in there))
        return f"has {counted(left, 'exclusive core')} left"
    return "has not enough memory left" if memory else "has its share of the replicas"
