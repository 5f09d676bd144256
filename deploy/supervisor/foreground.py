"""The supervisor inside the calling process: units live and die with it. Python >= 3.8.

For running a profile on this very machine without installing anything. The same parts as the
detached supervisor, without socket, journal and generations.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Type, Union

from deploy.profile import Profile
from deploy.supervisor.deployments import Deployments
from deploy.supervisor.engine import Engine
from deploy.supervisor.files import remove
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.lockfile import keep_folder, try_lock, unlock
from deploy.supervisor.logs import Follower
from deploy.supervisor.secrets import Secrets
from deploy.supervisor.slot import State
from deploy.supervisor.state import Difference

POLL = 0.05  # seconds between looks at the logs
OVER = (State.ENDED, State.FAILED)


class AlreadyRunning(Exception):
    """A supervisor works on this root already; nothing was started."""


@dataclass(frozen=True)
class StateChanged:
    """`state` is a unit's record as `status` shows it (see `deploy.supervisor.control`)."""

    state: Mapping[str, Any]


@dataclass(frozen=True)
class LogLine:
    unit: str
    line: str


Event = Union[StateChanged, LogLine]


class Foreground:
    """`async with Foreground(root, on_event) as units:` then `activate`, `finished`, `stop`.

    Leaving the block stops all units and removes what was in `run`. When the process is killed,
    the kernel kills the units. Entering raises AlreadyRunning, UnsafeFolder or OSError.
    """

    def __init__(self, root: str, on_event: Callable[[Event], None]) -> None:
        self.layout = Layout(root)
        self._on_event = on_event
        self._followers: Dict[Key, Follower] = {}
        self._over = asyncio.Event()

    async def __aenter__(self) -> Foreground:
        self.layout.prepare()
        lock = try_lock(self.layout)
        if lock is None:
            raise AlreadyRunning(f"a supervisor works on {self.layout.root} already")
        self._lock = lock
        self._kept = keep_folder(self.layout)
        self._deployments = Deployments(self.layout)
        self._engine = Engine(self.layout, mortal=True, on_change=self._changed)
        self._pump = asyncio.ensure_future(self._follow())
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        names = {key.deployment for key in self._engine.units.slots}
        try:
            await self.stop()
        finally:
            self._pump.cancel()
            self._read_logs(last=True)
            for follower in self._followers.values():
                follower.close()
            self._engine.leave()
            for name in names:
                self._deployments.clear(name)
            remove(self.layout.updates)
            os.close(self._kept)
            unlock(self.layout, self._lock)

    def activate(
        self, profile: Profile, secrets: Optional[Mapping[str, bytes]] = None
    ) -> Difference:
        """Runs the profile's units from now on. Returns before they have started.

        `secrets` are the files to which its units refer. Raises OSError."""
        self._deployments.write_documents(profile)
        for name, content in (secrets or {}).items():
            Secrets(self.layout).write(profile.deployment, name, content)
        for unit in profile.units:
            key = Key(profile.deployment, unit.name)
            if key not in self._followers:
                self._followers[key] = Follower(self.layout.log(*key))
        self._over.clear()
        difference = self._engine.activate(profile.deployment, 0, profile.units)
        self._look()
        return difference

    async def finished(self) -> None:
        """Returns when every unit has ended or failed and none will come back."""
        await self._over.wait()
        self._read_logs()

    async def stop(self) -> None:
        """Asks all units to leave, in their order, and returns when they have.

        How each of them ended is in its last StateChanged, whose state is "gone".
        """
        names = {key.deployment for key in self._engine.units.slots}
        await asyncio.gather(*(self._engine.stop(name) for name in names))
        self._read_logs()

    def kill(self) -> None:
        """Kills all units at once, for those who have lost patience; `stop` is still needed."""
        self._engine.kill()

    def restart(self, deployment: str, unit: str) -> None:
        """Raises KeyError when there is no such unit."""
        self._engine.restart(Key(deployment, unit))

    def states(self) -> List[Dict[str, Any]]:
        return self._engine.states()

    def _changed(self, keys: Set[Key]) -> None:
        # what a unit says comes after the news that it runs and before the news that it has ended
        states = [self._engine.state(key) for key in sorted(keys)]
        for state in states:
            if state["pid"] is not None:
                self._on_event(StateChanged(state))
        self._read_logs()
        for state in states:
            if state["pid"] is None:
                self._on_event(StateChanged(state))
        self._look()

    def _look(self) -> None:
        if all(slot.state in OVER for slot in self._engine.units.slots.values()):
            self._over.set()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            self._read_logs()

    def _read_logs(self, *, last: bool = False) -> None:
        for key, follower in self._followers.items():
            lines = follower.read() + (follower.rest() if last else [])
            for line in lines:
                self._on_event(LogLine(key.unit, line))
