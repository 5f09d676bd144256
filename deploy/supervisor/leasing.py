"""Who keeps the leases of this machine's deployments, and how long ago. Machine only; >= 3.8.

A mark is a word of this machine: it names the boot, and the seconds since. Whoever sends one back
has heard us then, however long its answer took to come. What was heard is noted on the disk now and
then, so that the next supervisor need not end what runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional

from deploy.supervisor import files
from deploy.supervisor.confirmation import Moment
from deploy.supervisor.control import Refusal, bad
from deploy.supervisor.engine import Engine
from deploy.supervisor.layout import Layout

log = logging.getLogger(__name__)

NOTE = 2.0  # seconds at least between two notes on the disk
SILENT = 10.0  # seconds after which a holder that renews nothing is none any more
LOOK = 1.0  # seconds between looks whether the machine was asleep
ASLEEP = 0.2  # seconds that are no rounding


@dataclass(frozen=True)
class Holder:
    """A connection that keeps the leases of a deployment."""

    session: object
    owner: str
    since: float  # epoch

    def to_json(self) -> Dict[str, Any]:
        return {"owner": self.owner, "since": self.since}


class Leasing:
    """Needs a running loop. `recall` comes before units are adopted."""

    def __init__(
        self,
        engine: Engine,
        layout: Layout,
        *,
        now: Callable[[], Moment],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._path = layout.leases
        self._now = now
        self._steady = steady
        self._holders: Dict[str, Holder] = {}
        self._renewed: Dict[str, float] = {}  # by its holder; seconds since boot
        self._noted = float("-inf")
        self._asleep = self._sleep()
        self._timer: Optional[asyncio.TimerHandle] = None

    def mark(self) -> str:
        now = self._now()
        return f"{now.boot_id}/{now.uptime:.3f}"

    def holder(self, deployment: str) -> Optional[Holder]:
        """Who keeps it, unless that has fallen silent."""
        found = self._holders.get(deployment)
        if found is not None and self._now().uptime - self._renewed[deployment] > SILENT:
            del self._holders[deployment]
            return None
        return found

    def hold(self, deployment: str, session: object, owner: str) -> None:
        """From now on `session` keeps it. Raises Refusal("leased") while somebody else does."""
        now, found = self._now(), self.holder(deployment)
        if found is not None and found.session is not session:
            raise Refusal(
                "leased",
                f"{found.owner} keeps the leases of {deployment!r}",
                owner=found.owner,
                since=found.since,
            )
        if found is None:
            self._holders[deployment] = Holder(session, owner, now.wall)
        self._renewed[deployment] = now.uptime

    def release_all(self, session: object) -> None:
        """The connection has ended. Its leases run on to their ends."""
        for name in [name for name, it in self._holders.items() if it.session is session]:
            del self._holders[name]

    def renew(self, deployment: str, mark: str) -> None:
        """Raises Refusal("bad_request") for what is no mark of ours."""
        age = self._age(mark)
        if age is not None:
            self._engine.renew(deployment, age)
            self._note()

    def foresee(self, deployment: str, mark: str) -> None:
        """For what is about to be activated. Raises as `renew`."""
        age = self._age(mark)
        if age is not None:
            self._engine.foresee(deployment, age)
            self._note()

    def _age(self, mark: str) -> Optional[float]:
        """None for one from before the machine was booted."""
        boot, _, told = mark.rpartition("/")
        now = self._now()
        try:
            age = now.uptime - float(told)
        except ValueError:
            raise bad(f"{mark[:80]!r} is not a mark of this machine") from None
        if boot != now.boot_id:
            return None
        if not age >= -0.001:
            raise bad(f"the mark {mark[:80]!r} has not been given yet")
        return age

    # what outlives us

    def recall(self) -> None:
        try:
            data = json.loads(self._path.read_bytes())
            now = self._now()
            if data["boot_id"] == now.boot_id:
                for deployment, uptime in data["heard"].items():
                    self._engine.foresee(deployment, now.uptime - float(uptime))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s cannot be read, leases wait to be renewed: %s", self._path, error)
        self._watch()

    def close(self) -> None:
        self._note(at_once=True)
        if self._timer is not None:
            self._timer.cancel()

    def _note(self, *, at_once: bool = False) -> None:
        now, heard = self._now(), self._engine.heard()
        if not heard or (now.uptime < self._noted + NOTE and not at_once):
            return
        self._noted = now.uptime
        marks = {name: round(now.uptime - age, 3) for name, age in heard.items()}
        data = {"boot_id": now.boot_id, "heard": marks}
        try:
            files.write(self._path, json.dumps(data).encode(), durable=False)
        except OSError as error:  # it only spares a restart
            log.error("%s cannot be written: %s", self._path, error)

    # a machine that sleeps

    def _watch(self) -> None:
        slept, self._asleep = self._sleep() - self._asleep, self._sleep()
        if slept > ASLEEP:
            log.warning("the machine was asleep for %.1f s", slept)
            self._engine.slept(slept)
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._watch)

    def _sleep(self) -> float:
        """How long the machine has slept since it was booted."""
        return self._now().uptime - self._steady()
