"""Deployment + facts -> a profile for each machine, and the trees it needs. Laptop only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from string import Template

from deploy.build.python import python_tree
from deploy.build.workshop import Workshop
from deploy.deployment import (
    Deployment,
    Files,
    MachineSpec,
    PythonArchive,
    PythonEnvironment,
    Source,
    UnitSpec,
)
from deploy.errors import BuildError
from deploy.facts import Facts
from deploy.profile import Profile
from deploy.store.path import Manifest
from deploy.unit import Unit

# What a unit's templates may name beside its sources; each is the same on all of one machine's
# units but for `state`. All are absolute paths on the machine.
MACHINE_NAMES = ("root", "run", "state", "secrets", "deployment_documents", "interpreter")


@dataclass(frozen=True)
class Built:
    """What one machine is to run, and the trees that it needs for it, sorted by name."""

    profile: Profile
    manifests: tuple[Manifest, ...]


def build(
    deployment: Deployment,
    facts: Mapping[str, Facts],
    workshop: Workshop,
    on_step: Callable[[str], None] | None = None,
) -> dict[str, Built]:
    """Turns sources into store paths and units into what the machine can run.

    The trees' contents are read from `workshop.store`. Nothing is sent anywhere. `on_step` is told
    of each part that takes a while. Raises BuildError; KeyError for a machine without facts.
    """
    say = on_step or _ignore
    trees = _Trees(deployment, workshop, say)
    return {
        machine: _machine(deployment.name, spec, facts[machine], trees)
        for machine, spec in deployment.machines.items()
    }


class _Trees:
    """Makes each tree once, however many units and machines of a kind need it."""

    def __init__(
        self, deployment: Deployment, workshop: Workshop, say: Callable[[str], None]
    ) -> None:
        self._workshop = workshop
        self._say = say
        self._made: dict[tuple[PythonEnvironment, str], Manifest] = {}
        self._files: dict[int, tuple[Files, Manifest]] = {}  # by identity: units share them
        self._users: dict[PythonEnvironment, set[str]] = {}
        for spec in deployment.machines.values():
            for unit in spec.units:
                for source in unit.sources.values():
                    if isinstance(source, PythonEnvironment):
                        self._users.setdefault(source, set()).add(unit.unit.name)

    def tree(self, source: Source, facts: Facts) -> Manifest:
        if isinstance(source, Files):
            if id(source) not in self._files:
                self._files[id(source)] = source, self._workshop.tree(source)
            return self._files[id(source)][1]
        if isinstance(source, PythonArchive):
            from deploy.build.interpreter import interpreter_tree  # rarely needed

            return interpreter_tree(source.path, facts, self._workshop, self._say).tree
        key = (source, facts.machine)
        if key not in self._made:
            users = self._users[source]
            self._made[key] = python_tree(source, facts, self._workshop, users, self._say)
        return self._made[key]


def _machine(name: str, spec: MachineSpec, facts: Facts, trees: _Trees) -> Built:
    units = []
    needed: dict[str, Manifest] = {}
    for unit in spec.units:
        manifests = {
            source: trees.tree(unit.sources[source], facts) for source in sorted(unit.sources)
        }
        needed.update({manifest.name: manifest for manifest in manifests.values()})
        names = {source: manifest.name for source, manifest in manifests.items()}
        units.append(_unit(name, unit, names, facts))
    profile = Profile(name, spec.machine, tuple(units), dict(spec.documents))
    return Built(profile, tuple(needed[each] for each in sorted(needed)))


def _unit(deployment: str, spec: UnitSpec, names: Mapping[str, str], facts: Facts) -> Unit:
    """The unit with every path filled in. `names` maps sources to their trees' names."""
    unit = spec.unit
    taken = sorted(set(names) & set(MACHINE_NAMES))
    if taken:
        raise ValueError(f"unit {unit.name}: a source may not be called {taken[0]}")
    root = facts.root
    values = {
        "root": root,
        "run": facts.run,
        "state": f"{root}/state/{deployment}/{unit.name}",
        "secrets": f"{root}/secrets/{deployment}",
        "deployment_documents": f"{root}/deployments/{deployment}/documents",
        "interpreter": facts.python,
        **{source: f"{root}/store/trees/{tree}" for source, tree in names.items()},
    }
    try:
        rendered = unit.render(values)
        links = None if unit.links is None else Template(unit.links).substitute(names)
    except (KeyError, ValueError) as error:
        raise BuildError(f"unit {unit.name} on {facts.machine}: no such name: {error}") from error
    return replace(rendered, closure=tuple(sorted(set(names.values()))), links=links)


def _ignore(what: str) -> None:
    pass
