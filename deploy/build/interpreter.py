"""A packed, relocatable Python -> a tree for machines whose own one will not do. Laptop only.

As python-build-standalone packs them: somewhere in the archive there is a folder with
`bin/python3.<minor>` and `lib/python3.<minor>/`; that folder becomes the tree, without what Python
compiled. Anything of that shape will do.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.build.elf import glibc_needed, read_program
from deploy.build.platforms import ARCHITECTURES
from deploy.build.unpack import unpack
from deploy.build.workshop import Workshop
from deploy.deployment import Files, Link
from deploy.errors import BuildError
from deploy.facts import Facts
from deploy.store.path import Manifest

FORMAT = 1  # of the tree that is made of an archive
_PROGRAM = re.compile(r"(?P<home>(?:.*/)?)bin/python3\.(?P<minor>\d+)\Z")
_VERSION = re.compile(rb'^#define\s+PY_VERSION\s+"(\d+)\.(\d+)\.(\d+)', re.MULTILINE)


@dataclass(frozen=True)
class Interpreter:
    """What is in an archive, read from its files. `program` is a path in `tree`."""

    tree: Manifest
    program: str
    version: tuple[int, int, int]  # the last is 0 where the files do not tell
    arch: str
    libc: str
    glibc: tuple[int, int]  # the oldest on which it starts


def interpreter_tree(
    archive: Path, facts: Facts, workshop: Workshop, say: Callable[[str], None]
) -> Interpreter:
    """The Python of `archive`, which is unpacked once. Raises BuildError when it cannot be, or does
    not run on that machine."""
    try:
        digest = workshop.digests.digest(archive)
    except OSError as error:
        raise BuildError(
            f"{facts.machine}: the Python {archive} cannot be read: {error.strerror}",
            hint="`python:` in the inventory names it, relative to the inventory's folder",
        ) from error
    note = workshop.cache / "interpreters" / f"{FORMAT}-{digest}.json"
    found = _noted(note, workshop)
    if found is None:
        say(f"the Python in {archive.name}")
        found = _unpacked(archive, workshop)
        _note(note, found)
    _check(found, archive, facts)
    return found


def with_interpreter(facts: Facts, found: Interpreter) -> Facts:
    """The machine as its units will find it: wheels are for that Python then."""
    program = f"{facts.root}/store/trees/{found.tree.name}/{found.program}"
    return replace(facts, python=program, python_version=found.version)


def _check(found: Interpreter, archive: Path, facts: Facts) -> None:
    def refuse(why: str) -> BuildError:
        return BuildError(
            f"{facts.machine}: the Python in {archive} does not run there: {why}",
            hint="name one for that machine in the inventory: `python:`",
        )

    if ARCHITECTURES.get(facts.arch.lower(), facts.arch) != found.arch:
        raise refuse(f"it is for {found.arch}, the machine is {facts.arch}")
    if found.libc != facts.libc:
        raise refuse(f"it is for {found.libc}, the machine has {facts.libc}")
    if found.libc == "glibc" and found.glibc > facts.libc_version:
        needed, has = (".".join(map(str, it)) for it in (found.glibc, facts.libc_version))
        raise refuse(f"it needs glibc {needed}, the machine has {has}")


def _unpacked(archive: Path, workshop: Workshop) -> Interpreter:
    workshop.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="interpreter-", dir=workshop.cache) as folder:
        entries = unpack(archive, Path(folder))
        home, minor = _home(archive, entries)
        inside = {
            path.removeprefix(home): entry
            for path, entry in entries.items()
            if path.startswith(home) and "__pycache__" not in path.split("/")
        }
        name = f"bin/python3.{minor}"
        try:
            data = _content(inside[name])
            program = read_program(data)
        except ValueError as error:
            raise BuildError(f"{archive}: {home}{name}: {error}") from error
        if program.libc == "none":
            raise BuildError(
                f"{archive}: {home}{name} is linked statically, and cannot load packages with "
                "binary parts",
                hint="take a build for `linux-gnu`, or one for musl that is linked dynamically",
            )
        libraries = [path for path in inside if re.match(r"lib/libpython3\.\d+\.so", path)]
        needed = [glibc_needed(data), *(glibc_needed(_content(inside[it])) for it in libraries)]
        version = _version(archive, inside, minor)
        tree = workshop.keep(Files(f"python-{'.'.join(map(str, version))}", inside))
    return Interpreter(tree, name, version, program.arch, program.libc, max(needed))


def _home(archive: Path, entries: Mapping[str, Path | Link]) -> tuple[str, int]:
    """The folder (with its slash) that a Python has for itself, and its minor version."""
    homes = []
    for path, entry in entries.items():
        match = _PROGRAM.match(path)
        if match and isinstance(entry, Path):
            library = f"{match['home']}lib/python3.{match['minor']}/os.py"
            if library in entries:
                homes.append((match["home"], int(match["minor"])))
    if len(homes) == 1:
        return homes[0]
    several = ", ".join(f"{home}bin/python3.{minor}" for home, minor in sorted(homes))
    raise BuildError(
        f"there are several Pythons in {archive}: {several}"
        if homes
        else f"there is no Python in {archive}: no bin/python3.<n> with lib/python3.<n>/os.py",
        hint="take a python-build-standalone archive, `install_only`",
    )


def _version(archive: Path, entries: Mapping[str, Path | Link], minor: int) -> tuple[int, int, int]:
    header = entries.get(f"include/python3.{minor}/patchlevel.h")
    match = _VERSION.search(_content(header)) if isinstance(header, Path) else None
    if match is None:
        return 3, minor, 0
    found = (int(match[1]), int(match[2]), int(match[3]))
    if found[:2] != (3, minor):
        said = ".".join(map(str, found))
        raise BuildError(f"{archive} is two things: bin/python3.{minor}, and headers of {said}")
    return found


def _content(entry: Path | Link) -> bytes:
    return entry.read_bytes() if isinstance(entry, Path) else b""


def _noted(note: Path, workshop: Workshop) -> Interpreter | None:
    """What an earlier build found, if the cache still has it."""
    try:
        data: dict[str, Any] = json.loads(note.read_text())
        first, second, third = data["version"]
        major, minor = data["glibc"]
        return Interpreter(
            tree=workshop.kept.manifest(data["tree"]),
            program=str(data["program"]),
            version=(int(first), int(second), int(third)),
            arch=str(data["arch"]),
            libc=str(data["libc"]),
            glibc=(int(major), int(minor)),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None  # never unpacked, or swept with the cache


def _note(note: Path, found: Interpreter) -> None:
    data = {
        "tree": found.tree.name,
        "program": found.program,
        "version": found.version,
        "arch": found.arch,
        "libc": found.libc,
        "glibc": found.glibc,
    }
    note.parent.mkdir(parents=True, exist_ok=True)
    fresh = note.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(data))
    fresh.replace(note)
