"""What a runtime is told about its operators, and which files they need. Laptop only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.build.declared import Declared, declared
from deploy.build.files import label, script_closure
from deploy.deployment import Files, Link
from dora.dataflow.model import Node, Operator
from dora.errors import DoraError
from dora.protocol.runtime import PYTHON, SHARED_LIBRARY, WASM, OperatorConfig, RuntimeConfig

CONFIG = ".dora-runtime.json"  # beside the code, whose paths in it are relative to it

# What a runtime needs beside what every node needs; the bounds are pyproject.toml's.
REQUIREMENTS = {
    PYTHON: (),
    SHARED_LIBRARY: ("cffi>=1.16",),
    WASM: ("wasmtime>=25",),
}


def runtime_config(node: Node, code: Callable[[Operator], str]) -> RuntimeConfig:
    """`code` gives the path of an operator's code, as the runtime finds it."""
    return RuntimeConfig(
        scheduler=node.scheduler,
        bare_outputs=node.single_operator,
        operators=tuple(
            OperatorConfig(
                id=operator.id,
                kind=operator.kind,
                code=code(operator),
                inputs=tuple(operator.inputs),
                outputs=operator.outputs,
                priority=operator.priority,
                deadline=operator.deadline,
                deadlines={
                    name: wired.deadline
                    for name, wired in operator.inputs.items()
                    if wired.deadline is not None
                },
                on_deadline_miss=operator.on_deadline_miss,
                budget=operator.budget,
                memory=operator.memory,
                thread=operator.thread,
                restart=operator.restart.policy,
                max_restarts=operator.restart.max_restarts,
                restart_delay=operator.restart.delay,
                max_restart_delay=operator.restart.max_delay,
                restart_window=operator.restart.window,
                replicated=operator.has_replicas,
                balanced=operator.balanced,
            )
            for operator in node.operators
        ),
    )


def code_file(base: Path, node: Node, operator: Operator) -> Path:
    """Where the operator's code lies. Raises DoraError if it is not there."""
    file = Path(os.path.normpath(base / operator.code))
    if not file.is_file():
        mark = operator.code_mark or operator.mark
        raise DoraError(
            f"{mark.file}:{mark.line}: operator {node.id}/{operator.id}: there is no file {file}",
            hint="paths are relative to the flow file's folder",
        )
    return file


def operators_closure(base: Path, node: Node) -> tuple[Files, Files]:
    """The operators' files with the local modules that they import, the node's `files`, and the
    runtime's configuration; and of these all but what the runtime takes over while it runs: Python
    operators' files that nothing else imports.

    Raises DoraError or BuildError, with file and reason.
    """
    files = {operator.id: code_file(base, node, operator) for operator in node.operators}
    codes = list(dict.fromkeys(files.values()))
    beside = all(code.is_relative_to(base) for code in codes)
    home = base if beside else Path(os.path.commonpath([base, *codes]))
    entries: dict[str, Path | bytes | Link] = {}
    rest: dict[str, Path | bytes | Link] = {}
    python = {files[operator.id] for operator in node.operators if operator.kind == PYTHON}
    for number, code in enumerate(codes):
        found = script_closure(code, home, node.files if number == 0 else ()).entries
        entries.update(found)
        own = _below(code, home) if code in python else None
        rest.update((path, it) for path, it in found.items() if path != own)
    config = runtime_config(node, lambda operator: _below(files[operator.id], home))
    entries[CONFIG] = rest[CONFIG] = config.to_text().encode()
    return Files(label(node.id), entries), Files(label(f"{node.id}-rest"), rest)


def operators_requirements(base: Path, node: Node) -> tuple[Declared, ...]:
    """What the operators' kinds and files, and their node, ask for."""
    kinds = dict.fromkeys(operator.kind for operator in node.operators)
    return (
        Declared("", node.requirements),
        Declared("", tuple(line for kind in kinds for line in REQUIREMENTS[kind])),
        *(declared(code, node.requirements) for code in _python_files(base, node)),
    )


def _python_files(base: Path, node: Node) -> Iterable[Path]:
    return dict.fromkeys(
        code_file(base, node, operator) for operator in node.operators if operator.kind == PYTHON
    )


def _below(path: Path, home: Path) -> str:
    return path.relative_to(home).as_posix()
