"""A node's health commands, and the scripts that travel for them. Laptop only."""

from __future__ import annotations

from pathlib import Path

from deploy.build.files import label, script_closure
from deploy.build.python import script_requirements
from deploy.deployment import Files, Source
from deploy.facts import Facts
from deploy.unit import HealthCommand, escape
from dora.compile.script import home_of, script_of, shipped
from dora.dataflow.model import Dataflow, Node
from dora.errors import DoraError

CHECKS = "checks"  # the source with the scripts


def health_commands(
    dataflow: Dataflow, node: Node, facts: Facts
) -> tuple[tuple[HealthCommand, ...], dict[str, Source]]:
    """The commands, and the sources that they name. Scripts find the node's packages.
    Raises DoraError or BuildError, naming the node."""
    base = Path(dataflow.directory)
    scripts = [script_of(base, node, list(check.words)) for check in node.health]
    ours = [script for script in scripts if script is not None]
    home = home_of(base, ours)
    commands = []
    for check, script in zip(node.health, scripts, strict=True):
        words = list(check.words)
        if script is None:
            argv = tuple(escape(word) for word in words)
        else:
            _refuse_requirements(node, script)
            file = f"${{{CHECKS}}}/{escape(script.relative_to(home).as_posix())}"
            argv = shipped(words, file, facts.python)
        commands.append(HealthCommand(argv, check.text, check.timeout))
    if not ours:
        return tuple(commands), {}
    entries = [script_closure(script, home).entries for script in ours]
    merged = {path: content for tree in entries for path, content in tree.items()}
    return tuple(commands), {CHECKS: Files(label(f"{node.id}-checks"), merged)}


def _refuse_requirements(node: Node, script: Path) -> None:
    if script.suffix == ".py" and script_requirements(script):
        raise DoraError(
            f"{node.mark.file}:{node.mark.line}: node {node.id!r}: its health command {script} has "
            "inline dependencies, and health commands have the node's packages only",
            hint="move them into the node's `requirements:`",
        )
