"""What the supervisor does on request, one method per operation. Machine only; Python >= 3.8."""

from __future__ import annotations

import errno
import logging
import os
import time
from typing import AbstractSet, Awaitable, Callable, Dict, List, Optional, Sequence, Set

from deploy.profile import Profile
from deploy.store.path import TREE_NAME
from deploy.supervisor.control import Refusal, Request, bad
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.engine import Engine
from deploy.supervisor.key import Key
from deploy.supervisor.leasing import Leasing
from deploy.supervisor.locks import EVERYTHING, Locks
from deploy.supervisor.metrics import Metrics
from deploy.supervisor.pinning import clashes
from deploy.supervisor.probe import facts
from deploy.supervisor.proc import boot_id
from deploy.supervisor.secrets import Secrets
from deploy.supervisor.switch import Switch
from deploy.supervisor.updates import Updates
from deploy.supervisor.updating import Answer, Operation, Updating
from deploy.unit import Unit

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds for which one that was just started or found waits to be given work
BRIEF = 5.0  # the same for whoever has just asked whether we are there
PARTING = 1.0  # the same, once it was said that there will be none
RESERVED = (  # in `run`
    "supervisor.sock",
    "supervisor.new",
    "supervisor.lock",
    "supervisor.log",
    "units.json",
    "updates.lock",
    "leases.json",
)


class Operations:
    """Requests that are answered by one line. `session` is whose locks count."""

    def __init__(
        self,
        engine: Engine,
        deployments: Deployments,
        switch: Switch,
        locks: Locks,
        updates: Updates,
        metrics: Metrics,
        leasing: Leasing,
        *,
        agent: str,
        upgrade: Callable[[str, Optional[str]], Awaitable[None]],
        stay: Callable[[float, bool], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.deployments = deployments
        self.secrets = Secrets(deployments.layout)
        self.switch = switch
        self.locks = locks
        self.updates = updates
        self.leasing = leasing
        self._agent = agent
        self._upgrade = upgrade
        self._stay = stay
        self._clock = clock
        self._table: Dict[str, Operation] = {
            "hello": self._hello,
            "facts": self._facts,
            "deployments": self._deployments,
            "generations": self._generations,
            "generation": self._generation,
            "status": self._status,
            "secret": self._secret,
            "secrets": self._secrets,
            "read_public": self._read_public,
            "lock": self._lock,
            "unlock": self._unlock,
            "lock_all": self._lock_all,
            "unlock_all": self._unlock_all,
            "break_lock": self._break_lock,
            "activate": self._activate,
            "confirm": self._confirm,
            "revert": self._revert,
            "prune": self._prune,
            "stop": self._stop,
            "restart": self._restart,
            "reload": self._reload,
            "lease": self._lease,
            "upgrade": self._do_upgrade,
            "metrics": metrics.answer,
            **Updating(updates, locks).table,
        }

    async def answer(self, request: Request, session: object) -> Answer:
        """Raises Refusal."""
        operation = self._table.get(request.op)
        if operation is None:
            known = ", ".join([*self._table, "watch", "logs", "store"])
            raise Refusal("unknown_op", f"unknown op {request.op[:60]!r}; there are: {known}")
        try:
            return {"ok": True, **await operation(request, session)}
        except Unreadable as error:
            raise Refusal("io", str(error)) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise Refusal("io", "the disk is full" if full else str(error)) from error

    async def _hello(self, request: Request, session: object) -> Answer:
        if request.flag("leave"):
            self._stay(PARTING, False)
        else:
            self._stay(GRACE if request.flag("stay") else BRIEF, True)
        return {
            "agent": self._agent,
            "pid": os.getpid(),
            "root": str(self.deployments.layout.root),
            "run": str(self.deployments.layout.run),
            "time": self._clock(),
            "boot_id": boot_id(),
        }

    async def _facts(self, request: Request, session: object) -> Answer:
        """What the probe tells, for who is connected already."""
        layout = self.deployments.layout
        ours = {
            "running": True,
            "agent": self._agent,
            "pid": os.getpid(),
            "socket": str(layout.socket),
        }
        return facts(layout, request.optional_name("deployment"), ours)

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
            "missing": [] if found is None else self._missing(found.profile),
        }

    async def _generations(self, request: Request, session: object) -> Answer:
        name = request.name("deployment")
        pending = self.deployments.pending(name)
        return {
            "generations": self.deployments.history(name),
            "current": self.deployments.current(name),
            "booted": self.deployments.booted(name),
            "pending": None if pending is None else pending.to_json(),
        }

    async def _status(self, request: Request, session: object) -> Answer:
        name = request.optional_name("deployment")
        states = self.engine.states(name)
        for state in states:
            state["before"] = self.engine.before(Key(state["deployment"], state["name"]))
        answer: Answer = {"units": states}
        if name is not None:
            generation = self.deployments.generation(name)
            answer["missing"] = [] if generation is None else self._missing(generation.profile)
        return answer

    async def _secret(self, request: Request, session: object) -> Answer:
        deployment = request.name("deployment")
        name, value = request.name("name"), request.base64("value")
        self.locks.check(deployment, session)
        self.secrets.write(deployment, name, value)
        return {}

    async def _secrets(self, request: Request, session: object) -> Answer:
        return {"names": self.secrets.names(request.name("deployment"))}

    async def _read_public(self, request: Request, session: object) -> Answer:
        deployment, name = request.name("deployment"), request.name("name")
        data = self.secrets.read_public(deployment, name)
        return {"text": None if data is None else data.decode(errors="replace")}

    async def _lock(self, request: Request, session: object) -> Answer:
        owner = request.text("owner")
        self.locks.take(request.name("deployment"), session, owner, self._clock())
        return {}

    async def _unlock(self, request: Request, session: object) -> Answer:
        self.locks.release(request.name("deployment"), session)
        self.updates.look()
        return {}

    async def _lock_all(self, request: Request, session: object) -> Answer:
        self.locks.take_everything(session, request.text("owner"), self._clock())
        return {}

    async def _unlock_all(self, request: Request, session: object) -> Answer:
        self.locks.release_everything(session)
        return {}

    async def _break_lock(self, request: Request, session: object) -> Answer:
        lock = self.locks.break_lock(request.name("deployment"))
        return {"broken": None if lock is None else lock.to_json()}

    async def _activate(self, request: Request, session: object) -> Answer:
        name, creator = request.name("deployment"), request.text("creator")
        profile, expected = request.profile("profile"), request.optional_text("expected")
        confirm_timeout = request.seconds("confirm_timeout")
        revision = request.optional_text("revision") or ""
        note = request.optional_text("note") or ""
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
        missing = self._missing(profile)
        if missing:
            raise Refusal(
                "missing_paths",
                f"{len(missing)} paths are missing, {missing[0]} among them",
                paths=missing,
            )
        self._check_cores(profile)
        before = () if current is None else current.profile.units
        slots = self.engine.units.slots.items()
        running = {key.unit for key, slot in slots if key.deployment == name and slot.pid}
        if not self.updates.claimed(name) and disturbs(before, profile.units, running):
            self.updates.claim(name)
        mark = request.optional_text("mark")
        if mark is not None:
            self.leasing.foresee(name, mark)
        activation = self.switch.activate(
            profile, creator, confirm_timeout=confirm_timeout, revision=revision, note=note
        )
        difference, pending = activation.difference, activation.pending
        previous = None if current is None else current.number
        return {
            "number": activation.generation.number,
            "previous": previous if pending is None else pending.previous,
            "pending": None if pending is None else pending.to_json(),
            "started": list(difference.started),
            "restarted": list(difference.restarted),
            "stopped": list(difference.stopped),
            "kept": list(difference.kept),
        }

    def _check_cores(self, profile: Profile) -> None:
        """Raises Refusal where others are pinned to cores that the profile pins its units to:
        nobody knows at the laptop what was deployed since it looked."""
        others = {
            name: self.deployments.units(name)
            for name in self.deployments.names()
            if name != profile.deployment
        }
        found = clashes(profile.units, others)
        within = [clash for clash in found if not clash.deployment]
        if within:
            raise bad(f"cores are given away twice: {within[0]}")
        if found:
            shown = "; ".join(map(str, found))
            raise Refusal("cores_taken", shown, clashes=[clash._asdict() for clash in found])

    def _missing(self, profile: Profile) -> List[str]:
        links = {unit.links for unit in profile.units if unit.links is not None}
        trees = [path for path in sorted({*profile.closure, *links}) if not self._has(path)]
        return trees + self.secrets.missing(profile.deployment, profile.units)

    def _has(self, path: str) -> bool:
        return bool(TREE_NAME.match(path)) and self.deployments.layout.tree(path).is_dir()

    async def _confirm(self, request: Request, session: object) -> Answer:
        number = request.number("number")
        if number is None:
            raise bad("'number' must be that of a generation")
        self.switch.confirm(request.name("deployment"), number)
        return {"number": number}

    async def _revert(self, request: Request, session: object) -> Answer:
        name, reason = request.name("deployment"), request.text("reason")
        self.locks.check(name, session)
        return {"number": self.switch.revert(name, reason)}

    async def _prune(self, request: Request, session: object) -> Answer:
        keep = request.number("keep")
        if not keep:
            raise bad("'keep' must be 1 at least")
        self.locks.check(EVERYTHING, session)
        slots = self.engine.units.slots.values()
        removed: Dict[str, List[int]] = {}
        for name in self.deployments.names():
            needed: Set[Optional[int]] = {
                self.deployments.current(name),
                self.deployments.booted(name),
                *(slot.generation for slot in slots if slot.key.deployment == name),
            }
            pending = self.deployments.pending(name)
            if pending is not None:
                needed |= {pending.number, pending.previous}
            numbers = {number for number in needed if number is not None}
            removed[name] = self.deployments.prune(name, keep, numbers)
            self._prune_secrets(name)
        # what leaves still runs from what it was started from
        running = [slot.actual for slot in slots if slot.actual is not None]
        closure = sorted({path for unit in running for path in unit.closure})
        return {"removed": removed, "closure": closure}

    def _prune_secrets(self, name: str) -> None:
        """Keeps those to which a generation, or what still runs, refers."""
        slots = self.engine.units.slots.values()
        units = [it.actual for it in slots if it.actual is not None and it.key.deployment == name]
        try:
            for number in self.deployments.numbers(name):
                generation = self.deployments.generation(name, number)
                units += [] if generation is None else generation.profile.units
        except Unreadable as error:
            log.error("%s: its secrets are kept: %s", name, error)
            return
        needed = {secret.reference for unit in units for secret in unit.secrets}
        gone = self.secrets.prune(name, needed)
        if gone:
            log.info("%s: removed %d secrets that nothing refers to", name, len(gone))

    async def _stop(self, request: Request, session: object) -> Answer:
        name = request.name("deployment")
        self.locks.check(name, session)
        if not self.updates.claimed(name):
            self.updates.claim(name, regardless=request.flag("force"))
        self.switch.forget(name)  # first: whatever happens now, it does not come back
        names = [state["name"] for state in self.engine.states(name)]
        log.info("%s: stops", name)
        await self.engine.stop(name)
        self.deployments.clear(name)  # its documents, if it had no units at all
        return {"stopped": names}

    async def _restart(self, request: Request, session: object) -> Answer:
        key = Key(request.name("deployment"), request.name("unit"))
        if not request.flag("force"):
            self.updates.check()
        try:
            self.engine.restart(key)
        except KeyError:
            error = f"no unit {key.unit!r} in deployment {key.deployment!r}"
            raise Refusal("unknown", error) from None
        return {}

    async def _reload(self, request: Request, session: object) -> Answer:
        key = Key(request.name("deployment"), request.name("unit"))
        what = request.name("what")
        try:
            return {"reloaded": await self.engine.reload(key, what)}
        except KeyError:
            error = f"no unit {key.unit!r} in deployment {key.deployment!r}"
            raise Refusal("unknown", error) from None

    async def _lease(self, request: Request, session: object) -> Answer:
        name, mark = request.name("deployment"), request.optional_text("mark")
        owner = request.optional_text("owner")
        if owner is not None:
            self.leasing.hold(name, session, owner)
        if mark is not None:
            self.leasing.renew(name, mark)
        holder = self.leasing.holder(name)
        slots = self.engine.units.slots.items()
        units = [slot.wanted for key, slot in slots if key.deployment == name]
        leases = [unit.lease for unit in units if unit is not None and unit.lease]
        return {
            "mark": self.leasing.mark(),
            "lease": min(leases, default=None),
            "holder": None if holder is None else holder.to_json(),
        }

    async def _do_upgrade(self, request: Request, session: object) -> Answer:
        await self._upgrade(request.text("agent"), request.optional_text("python"))
        return {}


def disturbs(before: Sequence[Unit], after: Sequence[Unit], running: AbstractSet[str]) -> bool:
    """Whether a process may start, end or be replaced if these units came after those, of which
    these run."""
    fingerprints = [{unit.name: unit.fingerprint for unit in units} for units in (before, after)]
    return fingerprints[0] != fingerprints[1] or not fingerprints[1].keys() <= running
