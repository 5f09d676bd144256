"""What a node's process consists of: its command, its code, its packages. Laptop only.

Two ways to package: `Closure` ships everything to a machine that has nothing but a Python,
`InPlace` runs the files where they lie, for `dora run`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import dora
from deploy.build.declared import Declared, declared
from deploy.build.files import package_files, script_closure
from deploy.deployment import Files, PythonArchive, PythonEnvironment, Source
from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.unit import HealthCommand, escape
from dora import tracing
from dora.compile.health import health_commands
from dora.compile.operators import (
    CONFIG,
    code_file,
    operators_closure,
    operators_requirements,
    runtime_config,
)
from dora.compile.script import home_of, script_of, script_word, shipped
from dora.dataflow.environment import RESERVED
from dora.dataflow.files import SHELL
from dora.dataflow.model import Dataflow, Node
from dora.errors import DoraError
from dora.protocol.runtime import RUNTIME_CONFIG

# What every node needs beside its own requirements; the bounds are pyproject.toml's.
NODE_REQUIREMENTS = ("pyarrow>=15", "eclipse-zenoh>=1.10")

# The modules of this package that run in nodes and routers; its other folders are the laptop's.
NODE_MODULES = ("*.py", "protocol/**", "communication/**", "runtime/**")


@dataclass(frozen=True)
class Package:
    """A process before it is a unit; strings are `string.Template`s over the sources' names."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    sources: Mapping[str, Source] = field(default_factory=dict)
    links: str | None = None  # name of the source whose files appear in the working directory
    reload: str | None = None  # see `deploy.unit.Unit`


class Packaging(Protocol):
    def node(self, dataflow: Dataflow, node: Node, machine: Machine, facts: Facts) -> Package:
        """Raises DoraError or BuildError, naming the node, when its code cannot be found."""

    def health(
        self, dataflow: Dataflow, node: Node, facts: Facts
    ) -> tuple[tuple[HealthCommand, ...], dict[str, Source]]:
        """The node's health commands, and the sources that they name beside the node's. Raises
        DoraError or BuildError."""

    def router(self, dataflow: Dataflow, machine: Machine, facts: Facts) -> Package:
        """The process that carries messages between machines."""


class Closure:
    """Everything travels; code is read-only in the store and linked into a writable folder.

    For one deployment: what nodes have in common is collected once."""

    def __init__(self) -> None:
        self._collected: dict[object, Files] = {}

    def _once(self, what: object, collect: Callable[[], Files]) -> Files:
        if what not in self._collected:
            self._collected[what] = collect()
        return self._collected[what]

    def node(self, dataflow: Dataflow, node: Node, machine: Machine, facts: Facts) -> Package:
        base = Path(dataflow.directory)
        if node.operators:
            return self._runtime(dataflow, node, base, machine, facts)
        sources: dict[str, Source] = {
            "library": self._once("library", _library),
            **_interpreter(machine),
        }
        wanted = Declared("", node.requirements)
        command = _command(node)
        script = script_of(base, node, command)
        if script is not None:
            # A script beside or above the flow file is shipped with the tree that holds both.
            home = home_of(base, [script])
            files = tuple(node.files)
            sources["code"] = self._once(
                (script, home, files), partial(script_closure, script, home, files)
            )
            wanted = declared(script, node.requirements)
            target = f"${{code}}/{escape(script.relative_to(home).as_posix())}"
            argv = shipped(command, target, facts.python)
        else:
            argv = tuple(escape(part) for part in command)
        sources["packages"] = _packages(dataflow, machine, node, [wanted])
        return Package(
            argv=argv,
            cwd="${state}",
            env=_joined(_python_paths(), _environment(dataflow, node)),
            sources=sources,
            links="code" if script is not None else None,
        )

    def health(
        self, dataflow: Dataflow, node: Node, facts: Facts
    ) -> tuple[tuple[HealthCommand, ...], dict[str, Source]]:
        return health_commands(dataflow, node, facts)

    def _runtime(
        self, dataflow: Dataflow, node: Node, base: Path, machine: Machine, facts: Facts
    ) -> Package:
        code, rest = operators_closure(base, node)
        return Package(
            argv=(escape(facts.python), "-u", "-m", "dora.runtime"),
            cwd="${state}",
            env={
                **_joined(_python_paths(), _environment(dataflow, node)),
                # Different when anything is but what a runtime takes over while it runs.
                "DORA_RUNTIME_REST": "${rest}",
            },
            sources={
                "library": self._once("library", _library),
                "code": code,
                "rest": rest,
                "packages": _packages(dataflow, machine, node, operators_requirements(base, node)),
                **_interpreter(machine),
            },
            links="code",
            reload=f"${{code}}/{CONFIG}",
        )

    def router(self, dataflow: Dataflow, machine: Machine, facts: Facts) -> Package:
        return Package(
            argv=(escape(facts.python), "-u", "-m", "dora.communication.router"),
            cwd="${state}",
            env=_python_paths(),
            sources={
                "library": self._once("library", _library),
                "packages": PythonEnvironment(
                    NODE_REQUIREMENTS, machine.index_urls, Path(dataflow.directory)
                ),
                **_interpreter(machine),
            },
        )


class InPlace:
    """Files run where they lie, with this very Python and its packages, as dora's `run` does."""

    def node(self, dataflow: Dataflow, node: Node, machine: Machine, facts: Facts) -> Package:
        base = Path(dataflow.directory)
        if node.operators:
            return self._runtime(dataflow, node, base)
        command = _command(node)
        script = script_of(base, node, command)
        if script is not None:
            position = command.index(script_word(command))
            head = [sys.executable, "-u"] if script.suffix == ".py" else command[:position]
            command = [*head, str(script), *command[position + 1 :]]
        elif shutil.which(command[0]) is None:
            raise DoraError(
                f"{node.mark.file}:{node.mark.line}: node {node.id!r}: "
                f"no program {command[0]!r} beside the flow file or in PATH",
                hint="paths are relative to the flow file's folder",
            )
        cwd = base / node.working_directory if node.working_directory else base
        return Package(
            argv=tuple(escape(part) for part in command),
            cwd=escape(str(cwd)),
            env=_joined(_here(), _environment(dataflow, node)),
        )

    def health(
        self, dataflow: Dataflow, node: Node, facts: Facts
    ) -> tuple[tuple[HealthCommand, ...], dict[str, Source]]:
        return (), {}  # nothing is on trial here

    def _runtime(self, dataflow: Dataflow, node: Node, base: Path) -> Package:
        config = runtime_config(node, lambda operator: str(code_file(base, node, operator)))
        return Package(
            argv=(escape(sys.executable), "-u", "-m", "dora.runtime"),
            cwd=escape(str(base)),
            env={
                **_joined(_here(), _environment(dataflow, node)),
                RUNTIME_CONFIG: f"${{runtime}}/{CONFIG}",
            },
            sources={"runtime": Files("runtime", {CONFIG: config.to_text().encode()})},
        )

    def router(self, dataflow: Dataflow, machine: Machine, facts: Facts) -> Package:
        argv = (sys.executable, "-u", "-m", "dora.communication.router")
        return Package(argv=tuple(map(escape, argv)), cwd=escape(os.getcwd()), env=_here())


def _command(node: Node) -> list[str]:
    if node.path == SHELL:
        return ["/bin/sh", "-c", *node.args]
    return [node.path or "", *node.args]


def _packages(
    dataflow: Dataflow, machine: Machine, node: Node, wanted: Iterable[Declared]
) -> PythonEnvironment:
    wanted = list(wanted)
    ours: tuple[str, ...] = NODE_REQUIREMENTS
    if tracing.exporters({**dataflow.env, **node.env}):
        ours += tracing.REQUIREMENTS
    asked = [*ours, *(line for each in wanted for line in each.requirements)]
    return PythonEnvironment(
        tuple(dict.fromkeys(asked)),
        machine.index_urls,
        Path(dataflow.directory),
        node.build_from_source,
        tuple((each.where, each.python) for each in wanted if each.python is not None),
    )


def _interpreter(machine: Machine) -> dict[str, Source]:
    archive = machine.python_archive
    return {} if archive is None else {"python": PythonArchive(archive)}


def _library() -> Files:
    return package_files(Path(dora.__file__).parent, NODE_MODULES)


def _environment(dataflow: Dataflow, node: Node) -> dict[str, str]:
    env = {**dataflow.env, **node.env}
    return {name: escape(text) for name, text in env.items() if name not in RESERVED}


def _python_paths() -> dict[str, str]:
    return {
        "PYTHONPATH": "${library}:${packages}",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        # The store is read-only; what Python compiles is kept beside it.
        "PYTHONPYCACHEPREFIX": "${root}/cache/pycache",
    }


def _joined(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Theirs win, but for PYTHONPATH: without our folders in front of it there is no dora."""
    env = {**ours, **theirs}
    if "PYTHONPATH" in theirs:
        env["PYTHONPATH"] = os.pathsep.join([ours["PYTHONPATH"], theirs["PYTHONPATH"]])
    return env


def _here() -> dict[str, str]:
    """This process's environment, such that nodes find this very dora library."""
    package_home = str(Path(dora.__file__).parent.parent)
    paths = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {name: escape(text) for name, text in os.environ.items()}
    return {**env, "PYTHONPATH": escape(os.pathsep.join(paths)), "PYTHONUNBUFFERED": "1"}
