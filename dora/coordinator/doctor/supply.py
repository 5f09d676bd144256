"""Asks whether the wheels that machines need can be had, as a build would. Laptop only.

With a dataflow: what each of its nodes needs on each machine where the flow file lets it run;
without one: what every node needs. Versions are not kept, nothing is fetched into our cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.build import Workshop
from deploy.build.available import origin
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError, NoIndex
from deploy.facts import Facts
from deploy.inventory import Machine
from dora.compile.packaging import NODE_REQUIREMENTS, Closure
from dora.coordinator.cache import cache_folder
from dora.coordinator.doctor.evidence import Look, Supply
from dora.coordinator.doctor.wheels import LIBRARY
from dora.coordinator.prepare import equipped
from dora.dataflow.model import Dataflow, Node
from dora.errors import DoraError

AT_ONCE = 4  # resolvers


@dataclass(frozen=True)
class _Case:
    """Machines that are alike in this get the same answer."""

    environment: PythonEnvironment
    machine: tuple[object, ...]


async def supplies(
    looks: Mapping[str, Look], dataflow: Dataflow | None
) -> dict[str, tuple[Supply, ...]]:
    """By machine."""
    lock = None if dataflow is None else Path(dataflow.file).with_suffix(".lock")
    workshop = Workshop(cache=cache_folder(), lock=lock)
    found: dict[str, list[Supply]] = {name: [] for name in looks}
    cases: dict[_Case, dict[str, set[str]]] = {}  # machine -> who needs it there
    facts: dict[_Case, Facts] = {}
    for name, look in looks.items():
        try:
            there = await asyncio.to_thread(
                equipped, look.machine, look.facts, workshop, lambda _: None
            )
        except BuildError as error:
            found[name].append(_problem((LIBRARY,), error))
            continue
        for user, wanted in _wanted(dataflow, look, there):
            if isinstance(wanted, Supply):
                found[name].append(wanted)
                continue
            alike = (there.arch, there.libc, there.libc_version, there.python_version)
            case = _Case(wanted, alike)
            cases.setdefault(case, {}).setdefault(name, set()).add(user)
            facts.setdefault(case, there)
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(case: _Case) -> None:
        users = sorted(set().union(*cases[case].values()))
        async with limit:
            answer = await asyncio.to_thread(
                _answer, case.environment, facts[case], workshop, users
            )
        for name, nodes in cases[case].items():
            found[name].append(
                Supply(
                    tuple(sorted(nodes)),
                    answer.origin,
                    answer.problem,
                    answer.hint,
                    answer.no_index,
                )
            )

    await asyncio.gather(*map(ask, cases))
    return {name: tuple(sorted(rows, key=lambda it: it.nodes)) for name, rows in found.items()}


def _answer(
    environment: PythonEnvironment, facts: Facts, workshop: Workshop, users: list[str]
) -> Supply:
    try:
        return Supply(tuple(users), origin(environment, facts, workshop, users))
    except BuildError as error:
        return _problem(tuple(users), error)


def _problem(nodes: tuple[str, ...], error: BuildError | DoraError) -> Supply:
    return Supply(nodes, None, error.message, error.hint, isinstance(error, NoIndex))


def _wanted(
    dataflow: Dataflow | None, look: Look, facts: Facts
) -> Iterator[tuple[str, PythonEnvironment | Supply]]:
    """Who needs what; a Supply where that cannot be said."""
    base = Path.cwd() if dataflow is None else Path(dataflow.directory)
    yield LIBRARY, PythonEnvironment(NODE_REQUIREMENTS, look.machine.index_urls, base)
    if dataflow is None:
        return
    closure = Closure()
    for node in dataflow.nodes.values():
        if not may_run(node, look.machine):
            continue
        try:
            package = closure.node(dataflow, node, look.machine, facts)
        except (BuildError, DoraError) as error:
            yield node.id, _problem((node.id,), error)
            continue
        for source in package.sources.values():
            if isinstance(source, PythonEnvironment):
                yield node.id, source


def may_run(node: Node, there: Machine) -> bool:
    """Whether the flow file lets it, by name and labels."""
    return node.deploy.machine in (None, there.id) and all(
        there.labels.get(key) == value for key, value in node.deploy.labels.items()
    )
