"""Python packages for a machine -> a tree in the laptop's store. Laptop only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deploy.addresses import without_logins
from deploy.build import resolver
from deploy.build.declared import script_requirements
from deploy.build.installed import bound_to_a_platform, normalise, plain_name
from deploy.build.lock import Key, Pins, read_lock, write_lock
from deploy.build.platforms import wheel_platform
from deploy.build.requirements import Requirements, expand
from deploy.build.workshop import Workshop
from deploy.deployment import Files, PythonEnvironment
from deploy.errors import BuildError
from deploy.facts import Facts
from deploy.store.path import Manifest
from deploy.unit import canonical

__all__ = ["python_tree", "script_requirements"]

FORMAT = 1  # of what `normalise` leaves: another number makes all environments anew


def python_tree(
    environment: PythonEnvironment,
    facts: Facts,
    workshop: Workshop,
    users: Iterable[str],
    say: Callable[[str], None],
) -> Manifest:
    """The packages as a tree. Asks the network only for what was never locked, or never fetched.

    `users` are the units that need it, for messages. `say` is told of work that takes a while.
    Raises BuildError, naming units, machine and platform.
    """
    asked = expand(environment)
    check_python(asked.pythons, facts, users)
    if not asked.lines:
        return workshop.keep(Files(f"python-{_minor(facts)}", {}))
    key = key_of(environment, asked, facts)
    try:
        pins = _pins(key, asked, environment.base, workshop, say)
        return _tree(key, pins, asked, environment.base, workshop, say)
    except BuildError as error:
        raise BuildError(
            f"Python packages of {', '.join(sorted(users))} for {facts.machine} "
            f"({key.platform}, Python {key.python}): {error.message}",
            hint=error.hint,
        ) from error


def key_of(environment: PythonEnvironment, asked: Requirements, facts: Facts) -> Key:
    """What the lock knows it by. Raises BuildError for a machine that there are no wheels for."""
    return Key(
        wheel_platform(facts),
        _minor(facts),
        tuple(map(without_logins, asked.lines)),
        tuple(map(without_logins, asked.constraints)),
        tuple(map(without_logins, asked.index_urls)),
        tuple(sorted(map(plain_name, environment.build_from_source))),
    )


def _minor(facts: Facts) -> str:
    return f"{facts.python_version[0]}.{facts.python_version[1]}"


def preferred(locked: Mapping[Key, Pins]) -> list[str]:
    """One version everywhere where that is possible, and no upgrade that nobody asked for."""
    return [pin for pins in locked.values() for pin in pins if "==" in pin]


def built_before(key: Key, pins: Pins, workshop: Workshop) -> Manifest | None:
    """The tree that an earlier build made, if the cache still has it."""
    return _noted(_note(key, pins, workshop), workshop)


def _note(key: Key, pins: Pins, workshop: Workshop) -> Path:
    made_of = [FORMAT, key.platform, key.python, {name: pins[name] for name in pins}]
    what = canonical([*made_of, *([key.build_from_source] if key.build_from_source else [])])
    return workshop.cache / "python" / f"{hashlib.sha256(what.encode()).hexdigest()[:40]}.json"


def _pins(
    key: Key, asked: Requirements, base: Path, workshop: Workshop, say: Callable[[str], None]
) -> Pins:
    locked = read_lock(workshop.lock) if workshop.lock else {}
    if key in locked:
        return locked[key]
    say(f"versions of {_called(key)} for {key.platform}")
    pins = resolver.compile_pins(key, asked, base, preferred(locked))
    unknown = set(key.build_from_source) - {plain_name(re.split("[=@ ]", pin)[0]) for pin in pins}
    if unknown:
        raise BuildError(
            f"`build_from_source` names {', '.join(sorted(unknown))}, which nothing here needs",
            hint=f"the packages are {', '.join(sorted(pins))}",
        )
    if workshop.lock:
        write_lock(workshop.lock, {key: pins})
    return pins


def _tree(
    key: Key,
    pins: Pins,
    asked: Requirements,
    base: Path,
    workshop: Workshop,
    say: Callable[[str], None],
) -> Manifest:
    note = _note(key, pins, workshop)
    known = _noted(note, workshop)
    if known is not None:
        return known
    say(f"packages {_called(key)} for {key.platform}")
    workshop.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="python-", dir=workshop.cache) as folder:
        target = Path(folder, "packages")
        resolver.install(key, pins, asked, base, target)
        bound = bound_to_a_platform(target, key.build_from_source)
        if bound:
            raise BuildError(
                f"{', '.join(bound)} was built from source here, and runs here alone: it is not "
                "pure Python",
                hint="build a wheel on such a machine, and name it: `./name.whl`",
            )
        normalise(target)
        files = {
            path.relative_to(target).as_posix(): path
            for path in target.rglob("*")
            if not path.is_dir()
        }
        manifest = workshop.keep(Files(f"python-{key.python}", files))
    note.parent.mkdir(parents=True, exist_ok=True)
    fresh = note.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"tree": manifest.name}))
    fresh.replace(note)
    return manifest


def _noted(note: Path, workshop: Workshop) -> Manifest | None:
    try:
        name = json.loads(note.read_text())["tree"]
        return workshop.kept.manifest(name)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # never made, or swept with the cache: it is made again


def check_python(pythons: Sequence[tuple[str, str]], facts: Facts, users: Iterable[str]) -> None:
    """Raises BuildError unless the machine's Python is one that is asked for."""
    if not pythons:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # rarely needed

    version = ".".join(map(str, facts.python_version))
    for where, wanted in pythons:
        try:
            fits = SpecifierSet(wanted).contains(version)
        except InvalidSpecifier as error:
            raise BuildError(f"{where}: `requires-python` is {wanted!r}: {error}") from error
        if not fits:
            raise BuildError(
                f"{where}: {', '.join(sorted(users))} needs Python {wanted}, and {facts.machine} "
                f"has {version}",
                hint="name another one in the inventory: `python:`",
            )


def _called(key: Key) -> str:
    return ", ".join(line.split("@sha256:")[0] for line in key.requirements)
