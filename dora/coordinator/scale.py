"""More or fewer replicas of nodes and operators that run, of what machines have. Laptop only.

No file of the user's is needed: a replica of a node is its unit under another name, and what it
consists of lies where one of them runs. Of operators their runtime makes as many as the dataflow's
document says, which it looks at.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from deploy.plan import Plan, plan
from deploy.profile import Profile
from deploy.session import Session
from deploy.unit import EXCLUSIVE, Unit
from dora.coordinator.prepare import newest_summary
from dora.dataflow.schema import MOST_REPLICAS
from dora.errors import DoraError
from dora.protocol.config import REPLICA, replica_name
from dora.protocol.dataflow import DOCUMENT, DataflowSummary


async def plan_scale(
    deployment: str, sessions: Mapping[str, Session], counts: Mapping[str, int]
) -> tuple[Plan, dict[str, tuple[int, int]]]:
    """What has to change for these nodes and operators (`node/operator`) to have so many replicas;
    and each with how many there are, and will be. Raises DoraError for what cannot be,
    MachineError."""
    found = await asyncio.gather(*(session.profile(deployment) for session in sessions.values()))
    current = dict(zip(sessions, found, strict=True))
    summary = newest_summary(deployment, sessions, current)
    if summary is None:
        raise DoraError(f"{deployment} does not run on a machine that answers", hint="dora status")
    profiles = {name: profile for name, profile in current.items() if profile is not None}
    wanted, _ = scaled(profiles, summary, counts)
    before = {name: _count(summary, name) for name in counts}
    changes = {node: (before[node], count) for node, count in counts.items()}
    return plan(deployment, wanted, current), changes


def scaled(
    profiles: Mapping[str, Profile], summary: DataflowSummary, counts: Mapping[str, int]
) -> tuple[dict[str, Profile], DataflowSummary]:
    """The profiles with so many replicas of each node: those with the highest numbers go, new ones
    come to the machines that have the fewest of those that have any. Pure. Raises DoraError."""
    units = {machine: list(profile.units) for machine, profile in profiles.items()}
    nodes = dict(summary.nodes)
    for node, count in counts.items():
        if "/" in node:
            runtime, operator = _operator(summary, node, count)
            machine = nodes[runtime].machine
            if machine not in units:
                raise DoraError(f"{runtime} runs on {machine}, which does not answer")
            operators = {**nodes[runtime].operators, operator: count}
            nodes[runtime] = replace(nodes[runtime], operators=operators)
            continue
        names = list(_replicas(summary, node, count))
        for name in names[count:]:
            machine = nodes.pop(name).machine
            if machine not in units:
                raise DoraError(f"{name} runs on {machine}, which does not answer")
            units[machine] = [unit for unit in units[machine] if unit.name != name]
        for number in range(len(names) + 1, count + 1):
            on = Counter({nodes[it].machine: 0 for it in names if nodes[it].machine in units})
            on.update(nodes[it].machine for it in names if nodes[it].machine in units)
            if not on:
                raise DoraError(f"no machine that runs {node} answers")
            machine = min(on, key=lambda it: on[it])
            model = next(it for it in names if nodes[it].machine == machine)
            name = replica_name(node, number)
            place = next(i for i, it in enumerate(units[machine]) if it.name == model)
            units[machine].append(_another(units[machine][place], name, number))
            nodes[name] = nodes[model]
            names.append(name)
    told = replace(summary, nodes=nodes)
    text = told.to_text()
    return {
        machine: replace(
            profile,
            units=tuple(units[machine]),
            documents={**profile.documents, DOCUMENT: text},
        )
        for machine, profile in profiles.items()
    }, told


def _count(summary: DataflowSummary, name: str) -> int:
    node, _, operator = name.partition("/")
    return summary.nodes[node].operators[operator] if operator else len(summary.replicas(node))


def _operator(summary: DataflowSummary, name: str, count: int) -> tuple[str, str]:
    """Raises DoraError."""
    node, _, operator = name.partition("/")
    _check(name, count, "an operator")
    found = summary.nodes.get(node)
    if found is not None and operator in found.operators:
        return node, operator
    known = [f"{id}/{it}" for id, its in summary.nodes.items() for it in its.operators]
    raise DoraError(
        f"{summary.name} has no operator {name!r} that has replicas; nothing was changed",
        hint=f"these can be scaled: {', '.join(sorted(known))}"
        if known
        else "write `replicas: 1` into the operator and deploy that once; "
        "then it can be scaled while it runs",
    )


def _check(name: str, count: int, what: str) -> None:
    if not 1 <= count <= MOST_REPLICAS:
        raise DoraError(
            f"{name}={count}: {what} has 1 to {MOST_REPLICAS} replicas; nothing was changed",
            hint="dora stop ends the whole deployment",
        )


def _replicas(summary: DataflowSummary, node: str, count: int) -> tuple[str, ...]:
    _check(node, count, "a node")
    if names := summary.replicas(node):
        return names
    if node not in {summary.source(name) for name in summary.nodes}:
        known = sorted({it.replica_of for it in summary.nodes.values() if it.replica_of})
        raise DoraError(
            f"{summary.name} has no node {node!r}; nothing was changed",
            hint=f"these can be scaled: {', '.join(known)}" if known else None,
        )
    raise DoraError(
        f"{node} runs as one process that others know as such; nothing was changed",
        hint="write `deploy: {replicas: 1}` into it and deploy that once; "
        "then it can be scaled while it runs",
    )


def _another(model: Unit, name: str, number: int) -> Unit:
    """Raises DoraError where a second one cannot be made of the first."""
    if model.pin == EXCLUSIVE:
        raise DoraError(
            f"{model.name} has cores for itself, and others have to be chosen for {name}; "
            "nothing was changed",
            hint="write the number into the flow file (`replicas:`) and deploy that",
        )
    sockets = tuple(
        replace(it, path=it.path.replace(f"{model.name}.shm", f"{name}.shm"))
        for it in model.sockets
    )
    return replace(model, name=name, env={**model.env, REPLICA: str(number)}, sockets=sockets)
