"""Python packages for a machine -> a tree in the laptop's store. Laptop only."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.build import resolver
from deploy.build.installed import normalise
from deploy.build.lock import Key, Pins, read_lock, without_password, write_lock
from deploy.build.platforms import wheel_platform
from deploy.build.requirements import Requirements, expand, script_requirements
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
    minor = f"{facts.python_version[0]}.{facts.python_version[1]}"
    if not asked.lines:
        return workshop.keep(Files(f"python-{minor}", {}))
    urls = tuple(without_password(url) for url in asked.index_urls)
    key = Key(wheel_platform(facts), minor, asked.lines, asked.constraints, urls)
    try:
        pins = _pins(key, asked, environment.base, workshop, say)
        return _tree(key, pins, asked, environment.base, workshop, say)
    except BuildError as error:
        raise BuildError(
            f"Python packages of {', '.join(sorted(users))} for {facts.machine} "
            f"({key.platform}, Python {minor}): {error.message}",
            hint=error.hint,
        ) from error


def _pins(
    key: Key, asked: Requirements, base: Path, workshop: Workshop, say: Callable[[str], None]
) -> Pins:
    locked = read_lock(workshop.lock) if workshop.lock else {}
    if key in locked:
        return locked[key]
    say(f"versions of {_called(key)} for {key.platform}")
    # One version everywhere where that is possible, and no upgrade that nobody asked for.
    prefer = [pin for pins in locked.values() for pin in pins if "==" in pin]
    pins = resolver.compile_pins(key, asked, base, prefer)
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
    what = canonical([FORMAT, key.platform, key.python, {name: pins[name] for name in pins}])
    note = workshop.cache / "python" / f"{hashlib.sha256(what.encode()).hexdigest()[:40]}.json"
    known = _noted(note, workshop)
    if known is not None:
        return known
    say(f"packages {_called(key)} for {key.platform}")
    workshop.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="python-", dir=workshop.cache) as folder:
        target = Path(folder, "packages")
        resolver.install(key, pins, asked, base, target)
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
    """The tree that an earlier build made, if the cache still has it."""
    try:
        name = json.loads(note.read_text())["tree"]
        return workshop.kept.manifest(name)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # never made, or swept with the cache: it is made again


def _called(key: Key) -> str:
    return ", ".join(line.split("@sha256:")[0] for line in key.requirements)
