"""What a user asks for in Python packages, spelled out: files read, wheels hashed. Laptop only."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError

METADATA = re.compile(
    r"^# /// script[ \t]*\r?$\s(?P<content>(?:^#(?:| .*)\r?$\s)+)^# ///[ \t]*\r?$", re.MULTILINE
)
OPTION = re.compile(r"(--?[a-zA-Z-]+)(?:\s+|=)?(.*)\Z")
COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True)
class Requirements:
    """`lines` and `constraints` are as uv reads them, but for wheels of ours: these are
    `name.whl@sha256:...` in `lines`, so that equal requirements are equal on every laptop.
    `wheels` maps these to files."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    index_urls: tuple[str, ...]
    wheels: dict[str, Path]


def script_requirements(script: Path) -> tuple[str, ...]:
    """The dependencies that a script declares in itself (PEP 723); empty if it does not.
    Raises BuildError for a declaration that cannot be read."""
    try:
        text = script.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ()  # a program, not a script
    except OSError as error:
        raise BuildError(f"{script} cannot be read: {error.strerror}") from error
    blocks = list(METADATA.finditer(text))
    if not blocks:
        return ()
    if len(blocks) > 1:
        line = text[: blocks[1].start()].count("\n") + 1
        raise BuildError(f"{script}:{line}: a second `# /// script` block; one is allowed")
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in blocks[0]["content"].splitlines(keepends=True)
    )
    line = text[: blocks[0].start()].count("\n") + 1
    try:
        data: dict[str, Any] = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(
            f"{script}:{line}: the `# /// script` block is no TOML: {error}"
        ) from error
    found = data.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BuildError(f"{script}:{line}: `dependencies` is not a list of texts: {found!r}")
    return tuple(found)


def expand(environment: PythonEnvironment) -> Requirements:
    """Reads requirements files and wheels. Raises BuildError for what cannot be deployed."""
    found = Requirements((), (), tuple(environment.index_urls), {})
    for requirement in environment.requirements:
        text = requirement.strip()
        if not text:
            continue
        path = environment.base / text
        if text.endswith((".txt", ".in")) and path.is_file():
            found = _file(path, found, seen=())
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
            constraints = (*found.constraints, *lines)
            found = Requirements(found.lines, constraints, found.index_urls, found.wheels)
        elif name in ("-i", "--index-url", "--extra-index-url"):
            urls = (*found.index_urls, value)
            found = Requirements(found.lines, found.constraints, urls, found.wheels)
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
        lines = (*found.lines, text)
        return Requirements(lines, found.constraints, found.index_urls, found.wheels)
    path = base / Path(text).expanduser()
    if path.suffix != ".whl":
        raise BuildError(
            f"{where}: {text!r} is not a wheel, and nothing is built on machines",
            hint=f"run `uv build --wheel {text}` and name the wheel that it makes",
        )
    path = Path(os.path.abspath(_existing(path, where)))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{path.name}@sha256:{digest}"
    wheels = {**found.wheels, name: path}
    return Requirements((*found.lines, name), found.constraints, found.index_urls, wheels)


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
