"""Whether the files that a dataflow names are there. Laptop only; reads the disk, opens nothing."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.document import shown, suggest
from deploy.errors import Issue
from dora.dataflow.graph import DYNAMIC
from dora.dataflow.model import Dataflow, Mark, Node

SHELL = "shell"  # the `path` of nodes whose `args` are a shell command


ALLOW_SHELL = "DORA_ALLOW_SHELL_NODES"


def check_files(dataflow: Dataflow, environ: Mapping[str, str] = os.environ) -> list[Issue]:
    """What is missing beside the flow file, sorted.

    Programs without a folder in their path are looked up on the machine that runs them, not here.
    `path: shell` needs $DORA_ALLOW_SHELL_NODES=true.
    """
    allow_shell = environ.get(ALLOW_SHELL) == "true"
    base = Path(dataflow.directory)
    issues: list[Issue] = []
    for node in dataflow.nodes.values():
        issues += _program(base, node, allow_shell)
        issues += _health(base, node)
        for operator in node.operators:
            mark = operator.code_mark or operator.mark
            issues += _file(base, operator.code, mark, f"the operator {operator.id}")
        for requirement in node.requirements:
            named = requirement.startswith(("./", "../", "/"))
            if named or (requirement.endswith((".txt", ".whl")) and "://" not in requirement):
                issues += _file(base, requirement, node.mark, f"`requirements` of {node.id}")
        for pattern in node.files:
            if not any(glob.iglob(os.path.join(glob.escape(str(base)), pattern), recursive=True)):
                message = f"`files` of {node.id}: {shown(pattern)} matches nothing in {base}"
                issues.append(node.mark.issue(message, "patterns are relative to the flow file"))
    return sorted(issues)


def _program(base: Path, node: Node, allow_shell: bool) -> Iterator[Issue]:
    path, mark = node.path, node.path_mark or node.mark
    if path is None or path == DYNAMIC:
        return
    if path == SHELL:
        if not allow_shell:
            message = f"the node {node.id} runs its args in a shell, which is not allowed"
            yield mark.issue(message, f"set {ALLOW_SHELL}=true if you trust this file")
        return
    if "$" in path or not (path.endswith(".py") or "/" in path):
        return
    missing = list(_file(base, path, mark, f"the node {node.id}"))
    yield from missing
    if not missing:
        yield from _executable(base, path, mark, f"the node {node.id}")


def _health(base: Path, node: Node) -> Iterator[Issue]:
    for check in node.health:
        path, owner = check.words[0], f"`health` of {node.id}"
        if path.startswith("/") or not (path.endswith(".py") or "/" in path):
            continue  # a program of the machine
        missing = list(_file(base, path, check.mark, owner))
        yield from missing or _executable(base, path, check.mark, owner)


def _executable(base: Path, path: str, mark: Mark, owner: str) -> Iterator[Issue]:
    if not path.endswith(".py") and not os.access(base / path, os.X_OK):
        message = f"{owner}: {shown(path)} is not executable"
        yield mark.issue(message, f"type chmod +x {base / path}")


def _file(base: Path, path: str, mark: Mark, owner: str) -> Iterator[Issue]:
    whole = base / path
    if whole.is_file():
        return
    if whole.is_dir():
        yield mark.issue(f"{owner}: {shown(path)} is a folder, not a file")
        return
    message = f"{owner}: there is no file {shown(path)} in {base}"
    beside = sorted(entry.name for entry in whole.parent.iterdir()) if whole.parent.is_dir() else []
    yield mark.issue(message, suggest(whole.name, beside))
