"""What a user asks for in Python packages, spelled out: files read, wheels hashed. Laptop only."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy.addresses import without_logins
from deploy.build.declared import project
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError

OPTION = re.compile(r"(--?[a-zA-Z-]+)(?:\s+|=)?(.*)\Z")
COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True)
class Requirements:
    """`lines` and `constraints` are as uv reads them, but for wheels of ours: these are
    `name.whl@sha256:...` in `lines`, so that equal requirements are equal on every laptop.
    `wheels` maps these to files. `pythons` are (who says so, `requires-python`).

    Addresses have the passwords that were written there: for uv alone, see `deploy.addresses`.
    """

    lines: tuple[str, ...] = field(default=(), repr=False)
    constraints: tuple[str, ...] = field(default=(), repr=False)
    index_urls: tuple[str, ...] = field(default=(), repr=False)
    wheels: dict[str, Path] = field(default_factory=dict)
    pythons: tuple[tuple[str, str], ...] = ()


def expand(environment: PythonEnvironment) -> Requirements:
    """Reads requirements files and wheels. Raises BuildError for what cannot be deployed."""
    found = Requirements(index_urls=environment.index_urls, pythons=environment.pythons)
    for requirement in environment.requirements:
        text = requirement.strip()
        if not text:
            continue
        path = environment.base / text
        if text.endswith((".txt", ".in")) and path.is_file():
            found = _file(path, found, seen=())
        elif path.name == "pyproject.toml" and path.is_file():
            said = project(path)
            for line in said.requirements:
                found = _line(line, path.parent, said.where, found)
            if said.python is not None:
                found = replace(found, pythons=(*found.pythons, (said.where, said.python)))
        else:
            found = _line(text, environment.base, "requirements", found)
    return found


def _file(path: Path, found: Requirements, seen: tuple[Path, ...]) -> Requirements:
    path = path.resolve()
    if path in seen:
        raise BuildError(f"{path} includes itself")
    for number, line in _logical_lines(path):
        where = f"{path}:{number}"
        option = OPTION.match(line) if line.startswith("-") else None
        if option is None:
            found = _line(line, path.parent, where, found)
            continue
        name, value = option[1], option[2].strip()
        if name in ("-r", "--requirement"):
            found = _file(_existing(path.parent / value, where), found, (*seen, path))
        elif name in ("-c", "--constraint"):
            lines = [text for _, text in _logical_lines(_existing(path.parent / value, where))]
            found = replace(found, constraints=(*found.constraints, *lines))
        elif name in ("-i", "--index-url", "--extra-index-url"):
            found = replace(found, index_urls=(*found.index_urls, value))
        else:
            raise BuildError(
                f"{where}: option {name} cannot be deployed",
                hint="-r, -c and index URLs can; a package of yours can as a wheel: `uv build "
                "--wheel`, then `./dist/name.whl`",
            )
    return found


def _line(line: str, base: Path, where: str, found: Requirements) -> Requirements:
    # A requirement's own text, without hashes: the lock has those of what it resolves to.
    text = re.sub(r"\s+--hash[= ]\S+", "", line).strip()
    local = text.startswith((".", "/", "~")) or (
        text.endswith(".whl") and "://" not in text and " @ " not in text
    )
    if not local:
        return replace(found, lines=(*found.lines, text))
    path = base / Path(text).expanduser()
    if path.suffix != ".whl":
        raise BuildError(
            f"{where}: {without_logins(text)!r} is not a wheel, and nothing is built on machines",
            hint=f"run `uv build --wheel {text}` and name the wheel that it makes",
        )
    path = Path(os.path.abspath(_existing(path, where)))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{path.name}@sha256:{digest}"
    return replace(found, lines=(*found.lines, name), wheels={**found.wheels, name: path})


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        raise BuildError(f"{where}: there is no file {path}")
    return path


def _logical_lines(path: Path) -> Iterable[tuple[int, str]]:
    """Lines with backslashes joined, without comments and blanks, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{path} cannot be read: {error}") from error
    waiting, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if waiting else number
        waiting += COMMENT.sub("", line)
        if waiting.endswith("\\"):
            waiting = waiting[:-1] + " "
            continue
        if waiting.strip():
            yield first, waiting.strip()
        waiting = ""
    if waiting.strip():
        yield first, waiting.strip()
