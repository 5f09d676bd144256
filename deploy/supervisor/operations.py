"""What the supervisor does on request, one method per operation. Machine only; Python >= 3.8."""

from __future__ import annotations

import errno
import logging
import os
import time
from typing import Any, Awaitable, Callable, Dict, Optional

from deploy.store.path import TREE_NAME
from deploy.supervisor.control import Refusal, Request, bad
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.engine import Engine
from deploy.supervisor.locks import Locks
from deploy.supervisor.process import boot_id
from deploy.supervisor.slot import Key

log = logging.getLogger(__name__)

RESERVED = ("supervisor.sock", "supervisor.lock", "supervisor.log", "units.json")  # in `run`

Answer = Dict[str, Any]


class Operations:
    """Requests that are answered by one line. `session` is whose locks count."""

    def __init__(
        self,
        engine: Engine,
        deployments: Deployments,
        *,
        agent: str,
        upgrade: Callable[[str, Optional[str]], Awaitable[None]],
        stay: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.deployments = deployments
        self.locks = Locks()
        self._agent = agent
        self._upgrade = upgrade
        self._stay = stay
        self._clock = clock
        self._table: Dict[str, Callable[[Request, object], Awaitable[Answer]]] = {
            "hello": self._hello,
            "deployments": self._deployments,
            "generation": self._generation,
            "status": self._status,
            "secret": self._secret,
            "secrets": self._secrets,
            "read_public": self._read_public,
            "lock": self._lock,
            "unlock": self._unlock,
            "activate": self._activate,
            "stop": self._stop,
            "restart": self._restart,
            "upgrade": self._do_upgrade,
        }

    async def answer(self, request: Request, session: object) -> Answer:
        """Raises Refusal."""
        operation = self._table.get(request.op)
        if operation is None:
            known = ", ".join([*self._table, "watch", "logs"])
            raise Refusal("unknown_op", f"unknown op {request.op[:60]!r}; there are: {known}")
        try:
            return {"ok": True, **await operation(request, session)}
        except Unreadable as error:
            raise Refusal("io", str(error)) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise Refusal("io", "the disk is full" if full else str(error)) from error

    async def _hello(self, request: Request, session: object) -> Answer:
        if request.flag("stay"):
            self._stay()
        return {
            "agent": self._agent,
            "pid": os.getpid(),
            "root": str(self.deployments.layout.root),
            "run": str(self.deployments.layout.run),
            "time": self._clock(),
            "boot_id": boot_id(),
        }

    async def _deployments(self, request: Request, session: object) -> Answer:
        summary = self.deployments.summary()
        for name, entry in summary.items():
            lock = self.locks.get(name)
            entry["lock"] = None if lock is None else lock.to_json()
        return {"deployments": summary}

    async def _generation(self, request: Request, session: object) -> Answer:
        name, number = request.name("deployment"), request.number("number")
        found = self.deployments.generation(name, number)
        return {
            "generation": None if found is None else found.to_json(),
            "numbers": self.deployments.numbers(name),
        }

    async def _status(self, request: Request, session: object) -> Answer:
        return {"units": self.engine.states(request.optional_name("deployment"))}

    async def _secret(self, request: Request, session: object) -> Answer:
        name, value = request.name("name"), request.base64("value")
        self.deployments.write_secret(request.name("deployment"), name, value)
        return {}

    async def _secrets(self, request: Request, session: object) -> Answer:
        return {"names": self.deployments.secrets(request.name("deployment"))}

    async def _read_public(self, request: Request, session: object) -> Answer:
        deployment, name = request.name("deployment"), request.name("name")
        data = self.deployments.read_public(deployment, name)
        return {"text": None if data is None else data.decode(errors="replace")}

    async def _lock(self, request: Request, session: object) -> Answer:
        owner = request.text("owner")
        self.locks.take(request.name("deployment"), session, owner, self._clock())
        return {}

    async def _unlock(self, request: Request, session: object) -> Answer:
        self.locks.release(request.name("deployment"), session)
        return {}

    async def _activate(self, request: Request, session: object) -> Answer:
        name, creator = request.name("deployment"), request.text("creator")
        profile, expected = request.profile("profile"), request.optional_text("expected")
        if profile.deployment != name:
            raise bad(f"the profile is of deployment {profile.deployment!r}, not of {name!r}")
        if name in RESERVED:
            raise bad(f"a deployment cannot be called {name!r}")
        twice = self.engine.sockets.shared(name, profile.units)
        if twice is not None:
            raise bad(f"two sockets of the profile have the path {twice}")
        self.locks.check(name, session)
        current = self.deployments.generation(name)
        found = None if current is None else current.profile.hash
        if found != expected:
            shown = "nothing" if found is None else f"profile {found}"
            raise Refusal("stale", f"the plan is stale: {shown} is current now", hash=found)
        missing = [path for path in self._needed(profile) if not self._has(path)]
        if missing:
            raise Refusal(
                "missing_paths",
                f"{len(missing)} store paths are missing, {missing[0]} among them",
                paths=missing,
            )
        if current is None or found != profile.hash:
            current = self.deployments.add(profile, self._clock(), creator)
            self.deployments.switch(current)
        log.info("%s: generation %d is current (%s)", name, current.number, creator)
        difference = self.engine.activate(name, current.number, profile.units)
        return {
            "number": current.number,
            "started": list(difference.started),
            "restarted": list(difference.restarted),
            "stopped": list(difference.stopped),
            "kept": list(difference.kept),
        }

    def _needed(self, profile: Any) -> list[str]:
        links = {unit.links for unit in profile.units if unit.links is not None}
        return sorted({*profile.closure, *links})

    def _has(self, path: str) -> bool:
        return bool(TREE_NAME.match(path)) and self.deployments.layout.tree(path).is_dir()

    async def _stop(self, request: Request, session: object) -> Answer:
        name = request.name("deployment")
        self.locks.check(name, session)
        self.deployments.deactivate(name)  # first: whatever happens now, it does not come back
        names = [state["name"] for state in self.engine.states(name)]
        log.info("%s: stops", name)
        await self.engine.stop(name)
        self.deployments.clear(name)  # its documents, if it had no units at all
        return {"stopped": names}

    async def _restart(self, request: Request, session: object) -> Answer:
        key = Key(request.name("deployment"), request.name("unit"))
        try:
            self.engine.restart(key)
        except KeyError:
            error = f"no unit {key.unit!r} in deployment {key.deployment!r}"
            raise Refusal("unknown", error) from None
        return {}

    async def _do_upgrade(self, request: Request, session: object) -> Answer:
        await self._upgrade(request.text("agent"), request.optional_text("python"))
        return {}
