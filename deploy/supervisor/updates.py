"""Whether this machine may switch to another generation now. Machine only; Python >= 3.8.

Whoever must not be disturbed holds updates up: a unit's process (a robot that moves) or a person
(`pause`). Units hold a shared lock (flock) on one file, whose path they are given: the kernel gives
it back when they die, and neither needs a supervisor that lives. Whoever switches *claims* the
machine: the supervisor takes that lock for itself, from before the first machine switches until no
deployment that claimed it is locked or on trial any more; units that want to hold wait meanwhile.

Beside the lock each holding unit keeps a note, for people: JSON, [{"reason", "since"}, ...].
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from typing import Callable, Iterable, List, Optional, Set

from deploy.supervisor import files
from deploy.supervisor.control import Refusal
from deploy.supervisor.files import remove
from deploy.supervisor.holds import Hold, holds_of, read_pause
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout, private

log = logging.getLogger(__name__)

LOOK = 0.25  # seconds between looks whether a claim is still needed
LONGEST_NOTE = 64 * 1024  # bytes that are read of a unit's note


class Updates:
    """`needed(deployment)` tells whether a claim still is: it is locked, or on trial.

    `units` are the keys of the units that run, `clock` the seconds since the epoch.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        needed: Callable[[str], bool],
        units: Callable[[], Iterable[Key]],
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._needed = needed
        self._units = units
        self._clock = clock
        self._claims: Set[str] = set()
        self._lock: Optional[int] = None
        self._timer: Optional[asyncio.TimerHandle] = None

    # who holds updates up

    def holds(self) -> List[Hold]:
        """Everybody who does; [] while nobody does, also if a deployment has claimed the machine.
        Raises OSError."""
        pause = read_pause(self._layout)
        found = [] if pause is None else [pause]
        noted = [hold for key in sorted(self._units()) for hold in self._noted(key)]
        if self._lock is not None or self._free():
            return found  # notes of those who died holding
        return found + (noted or [Hold(self._clock(), "a process that left no note")])

    def pause(self, owner: str, reason: str) -> Hold:
        """From now on nothing is switched here, until `resume`; also after a reboot.
        Raises Refusal("updating") while that goes on, OSError."""
        self.look()
        if self._claims:
            raise self._updating()
        before = read_pause(self._layout)
        since = before.since if before is not None else self._clock()
        private(self._layout.root)
        data = {"owner": owner, "reason": reason, "since": since}
        files.write(self._layout.paused, json.dumps(data).encode())
        return Hold(since, reason, owner=owner)

    def resume(self) -> Optional[Hold]:
        """Ends the pause; what it was. Raises OSError."""
        before = read_pause(self._layout)
        if before is not None:
            remove(self._layout.paused)
            files.sync_folder(self._layout.paused.parent)
        return before

    # who switches

    def claim(self, deployment: str, *, regardless: bool = False) -> None:
        """Nobody can hold updates up from now on, until the deployment needs it no more. Fine if it
        has claimed it already. With `regardless` of who does now. Raises Refusal("held"), OSError.
        """
        if not regardless:
            self.check()
        self._claims.add(deployment)
        if not self._take() and not regardless:
            self.release(deployment)  # somebody was quicker
            self.check()
        self.look()

    def check(self) -> None:
        """Raises Refusal("held") while somebody holds updates up, OSError."""
        holds = self.holds()
        if holds:
            shown = [hold.to_json() for hold in holds]
            raise Refusal("held", "updates are held up on this machine", holds=shown)

    def release(self, deployment: str) -> None:
        """The deployment does not switch after all."""
        self._claims.discard(deployment)
        self.look()

    def claimed(self, deployment: str) -> bool:
        return deployment in self._claims

    def take_over(self, deployments: Iterable[str]) -> None:
        """Those on trial when an earlier supervisor ended: their claims go on."""
        self._claims |= set(deployments)
        if self._claims and not self._take():
            log.warning("updates are held up while a generation is on trial")
        self.look()

    def look(self) -> None:
        """Gives back what is not needed any more, now and again until nothing is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._claims = {name for name in self._claims if self._needed(name)}
        if self._claims:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self.look)
        else:
            self._give_back()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_back()

    # the lock

    def _take(self) -> bool:
        """Whether the lock is ours."""
        if self._lock is None:
            lock = self._open()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def _free(self) -> bool:
        """Whether no process holds the lock. Raises OSError."""
        taken = self._take()
        if taken and not self._claims:
            self._give_back()
        return taken

    def _give_back(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self) -> int:
        private(self._layout.run)
        return os.open(str(self._layout.updates), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _noted(self, key: Key) -> List[Hold]:
        try:
            with open(str(self._layout.hold(*key)), "rb") as file:
                return holds_of(json.loads(file.read(LONGEST_NOTE)), key)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            return [Hold(self._clock(), f"its note cannot be read: {error}", *key)]

    def _updating(self) -> Refusal:
        names = ", ".join(sorted(self._claims))
        return Refusal("updating", f"{names} is being switched on this machine")
