"""Can the wheels for a machine be had, and from where? Changes nothing. Laptop only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from deploy.build import resolver
from deploy.build.lock import Key, Pins, read_lock
from deploy.build.python import built_before, check_python, key_of, preferred
from deploy.build.requirements import Requirements, expand
from deploy.build.workshop import Workshop
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError, NoIndex
from deploy.facts import Facts

BUILT = "built"  # lies in the laptop's cache: nothing has to be fetched
INDEX = "index"  # the index has them
FETCHED = "fetched"  # there is no way to the index, but uv has fetched them before


def origin(
    environment: PythonEnvironment, facts: Facts, workshop: Workshop, users: Iterable[str]
) -> str:
    """Where the next build would take the packages from: BUILT, INDEX or FETCHED.

    Raises NoIndex where they would have to be fetched and there is no way to the index, BuildError
    where they cannot be had at all: for that platform, that libc, that Python.
    """
    asked = expand(environment)
    check_python(asked.pythons, facts, users)
    if not asked.lines:
        return BUILT
    key = key_of(environment, asked, facts)
    locked = read_lock(workshop.lock) if workshop.lock else {}
    pins = locked.get(key)
    if pins is not None and built_before(key, pins, workshop) is not None:
        return BUILT
    try:
        _find(key, pins, asked, environment.base, preferred(locked))
    except NoIndex as away:
        try:
            _find(key, pins, asked, environment.base, preferred(locked), offline=True)
        except BuildError:
            raise away from None
        return FETCHED
    return INDEX


def _find(
    key: Key,
    pins: Pins | None,
    asked: Requirements,
    base: Path,
    prefer: Iterable[str],
    *,
    offline: bool = False,
) -> None:
    if pins is None:
        # Versions are chosen among those that have a wheel.
        resolver.compile_pins(key, asked, base, prefer, offline=offline)
        return
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:
        target = Path(folder, "packages")
        resolver.install(key, pins, asked, base, target, dry=True, offline=offline)
