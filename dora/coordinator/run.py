"""A dataflow on this machine, in the foreground: no SSH, no store, files where they lie. Laptop."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deploy.build import Workshop, build
from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.profile import Profile
from deploy.secret import KEY_SIZE
from deploy.store.base import copy
from deploy.store.local import LocalStore
from deploy.supervisor.foreground import Event, Foreground, LogLine
from deploy.supervisor.layout import Layout
from deploy.supervisor.probe import facts as probe
from dora.compile.compile import Site, compile_dataflow
from dora.compile.dataplane import ROUTER
from dora.compile.packaging import InPlace
from dora.compile.replicas import instances
from dora.compile.secrets import Contents, tell, with_secrets
from dora.coordinator.secrets import read_secrets
from dora.dataflow.model import Dataflow
from dora.placement.model import Assignment, Placement

HERE = "here"
LAST_WORDS = 20  # lines of a node that failed
PARENT = "DORA_RUN_PARENT_PID"


@dataclass
class Ended:
    """How a node left. `how` is what a person reads; None when it left as it should."""

    node: str
    how: str | None
    last_lines: tuple[str, ...] = ()


@dataclass
class RunResult:
    nodes: list[Ended] = field(default_factory=list)
    interrupted_twice: bool = False

    @property
    def succeeded(self) -> bool:
        return not self.interrupted_twice and all(node.how is None for node in self.nodes)


async def run(
    name: str,
    dataflow: Dataflow,
    on_line: Callable[[str, str], None],
    *,
    stop_after: float | None = None,
) -> RunResult:
    """Runs all nodes until they have ended, `stop_after` seconds are over, or SIGINT or SIGTERM.

    Stopping asks first, then insists (see `deploy.unit.StopPolicy`); a second signal kills at once.
    `on_line(node, line)` gets what they print. Raises DoraError for what cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="dora-run-") as root:
        contents = await asyncio.to_thread(read_secrets, dataflow, dataflow.nodes)
        profile, files = _profile(name, dataflow, contents, root)
        watched = _Watched(profile, on_line)
        async with Foreground(root, watched.event) as units:
            result = await _until_over(units, profile, files, watched, stop_after)
    result.nodes = watched.ended()
    return result


async def _until_over(
    units: Foreground,
    profile: Profile,
    secret_files: Mapping[str, bytes],
    watched: _Watched,
    stop_after: float | None,
) -> RunResult:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    signals = 0

    def signalled() -> None:
        nonlocal signals
        signals += 1
        stopping.set()
        if signals > 1:
            units.kill()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, signalled)
    try:
        units.activate(profile, secret_files)
        waits = {
            asyncio.ensure_future(stopping.wait()),
            asyncio.ensure_future(watched.over.wait()),
        }
        await asyncio.wait(waits, timeout=stop_after, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        await units.stop()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
    return RunResult(interrupted_twice=signals > 1)


class _Watched:
    """What the units have told: their last lines, and how they ended."""

    def __init__(self, profile: Profile, on_line: Callable[[str, str], None]) -> None:
        self.over = asyncio.Event()
        self._nodes = [unit.name for unit in profile.units if unit.name != ROUTER]
        self._lines: dict[str, deque[str]] = {
            name: deque(maxlen=LAST_WORDS) for name in self._nodes
        }
        self._states: dict[str, dict[str, Any]] = {}
        self._on_line = on_line

    def event(self, event: Event) -> None:
        if isinstance(event, LogLine):
            if event.unit in self._lines:
                self._lines[event.unit].append(event.line)
            self._on_line(event.unit, event.line)
            return
        state = dict(event.state)
        if state["state"] == "gone":
            # A record that has gone tells less than the one before it.
            state = {**self._states.get(state["name"], {}), **state}
        self._states[state["name"]] = state
        if all(self._is_over(name) for name in self._nodes):
            self.over.set()

    def _is_over(self, name: str) -> bool:
        return self._states.get(name, {}).get("state") in ("ended", "failed", "gone")

    def ended(self) -> list[Ended]:
        return [
            Ended(name, _how(self._states.get(name, {})), tuple(self._lines[name]))
            for name in self._nodes
        ]


def _how(state: dict[str, Any]) -> str | None:
    left = state.get("exit") or {}
    # Who was deaf to the stop and died of SIGTERM has still left in time.
    if left.get("code") == 0 or left.get("signal") == "SIGTERM":
        return None
    if state.get("error"):
        return str(state["error"])
    if "signal" in left:
        return f"ended by {left['signal']}"
    return f"exited with code {left['code']}" if "code" in left else None


def _profile(
    name: str, dataflow: Dataflow, contents: Mapping[str, Contents], root: str
) -> tuple[Profile, dict[str, bytes]]:
    """What runs here, and the files with the secrets that it refers to."""
    machine = Machine(HERE, "localhost")
    facts = Facts.from_json(HERE, probe(Layout(root)))
    placement = Placement({node: Assignment(HERE, "dora run") for node in dataflow.nodes})
    sites = {HERE: Site(machine, facts)}
    key = secrets.token_bytes(KEY_SIZE)
    told = {
        it.node.id: tell(it.of, contents[it.of.id], key)
        for it in instances(dataflow, placement)
        if it.of.id in contents
    }
    deployment = compile_dataflow(name, dataflow, placement, sites, {}, InPlace())
    deployment = with_secrets(deployment, told)
    workshop = Workshop(cache=Path(root) / "cache")
    built = build(deployment, {HERE: facts}, workshop)
    copy(workshop.store, built[HERE].manifests, LocalStore(root))
    profile = built[HERE].profile
    parent = {PARENT: str(os.getpid())}
    units = tuple(replace(unit, env={**unit.env, **parent}) for unit in profile.units)
    files = {file: content for it in told.values() for file, content in it.files.items()}
    return replace(profile, units=units), files
