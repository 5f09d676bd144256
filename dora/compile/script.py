"""Which file of the user's a command runs, and the same command where that file was shipped to.
Laptop only."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.unit import escape
from dora.dataflow.model import Node
from dora.errors import DoraError


def script_word(command: list[str]) -> str:
    """The word that names a file of ours: the program, or what an interpreter is to run."""
    if os.path.basename(command[0]).startswith("python") and len(command) > 1:
        for word in command[1:]:
            if word.endswith(".py"):
                return word
    return command[0]


def script_of(base: Path, node: Node, command: list[str]) -> Path | None:
    """The file that a command of the node runs, or None for a program that the machine has itself.
    Raises DoraError for a file that is not there."""
    word = script_word(command)
    file = Path(os.path.normpath(base / word))
    if file.is_file():
        return file
    if word.endswith(".py") or "/" in word.removeprefix("/usr/").removeprefix("/bin/"):
        if word.startswith("/"):
            return None  # a file of the machine
        raise DoraError(
            f"{node.mark.file}:{node.mark.line}: node {node.id!r}: there is no file {file}",
            hint="paths are relative to the flow file's folder",
        )
    return None


def shipped(command: list[str], file: str, python: str) -> tuple[str, ...]:
    """The command's argv with the template `file` for its script; `python` runs those in Python."""
    position = command.index(script_word(command))
    before = [escape(part) for part in command[:position]]
    if file.endswith(".py"):
        before = [escape(python), "-u"]
    return (*before, file, *(escape(part) for part in command[position + 1 :]))


def home_of(base: Path, scripts: list[Path]) -> Path:
    """The folder that becomes a tree: the flow file's, or one above that holds the scripts too."""
    if all(script.is_relative_to(base) for script in scripts):
        return base
    return Path(os.path.commonpath([base, *scripts]))
