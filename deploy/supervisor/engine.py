"""Does what the state machine decides and tells it what happened. Machine only; Python >= 3.8.

The same for the detached supervisor and for the one in the foreground; knows nothing of sockets,
generations or requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import deque
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from deploy.supervisor import cgroups, logs
from deploy.supervisor.actions import (
    Action,
    AskStatus,
    AskToStop,
    Clean,
    Reload,
    Signal,
    Spawn,
)
from deploy.supervisor.affinity import Affinity
from deploy.supervisor.confirmation import Pending
from deploy.supervisor.examiner import Examiner
from deploy.supervisor.exits import Exits
from deploy.supervisor.journal import Journal
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.lease import OVER
from deploy.supervisor.logkeeper import LogKeeper
from deploy.supervisor.notify import Notifications
from deploy.supervisor.proc import cores_of
from deploy.supervisor.process import Processes, SpawnFailed
from deploy.supervisor.restart import Exit
from deploy.supervisor.rounds import Rounds
from deploy.supervisor.scheduling import scheduling_of, shortfall
from deploy.supervisor.slot import Slot, State
from deploy.supervisor.sockets import Place, SocketFailed, Sockets, decide
from deploy.supervisor.state import Difference, Units
from deploy.supervisor.usage import Excess
from deploy.unit import Unit

log = logging.getLogger(__name__)

SETTLED = 1.0  # seconds after which a process is what its command has become
RELOAD_WITHIN = 30.0  # seconds for a unit to answer a request that needs no new generation

OnChange = Callable[[Set[Key]], None]


class Engine:
    """Runs units until `leave`. `on_change(keys)` is called after steps that changed records."""

    def __init__(
        self,
        layout: Layout,
        *,
        mortal: bool = False,
        journal: Optional[Journal] = None,
        on_change: Optional[OnChange] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.layout = layout
        self.units = Units()
        self._groups = cgroups.find(layout.root)
        keeper = LogKeeper(layout)
        self._processes = Processes(layout, mortal=mortal, groups=self._groups, logs=keeper)
        self._exits = Exits(loop, self._exited)
        self.examiner = Examiner(loop, layout, self._examined)
        self.notifications = Notifications(
            loop,
            layout,
            on_ready=self._ready,
            on_alive=self._alive,
            on_unwatched=self._unwatched,
            on_status=self._said,
            on_store=self._stored,
            on_done=self._done,
            on_refusal=self._refused,
        )
        self._affinity = Affinity(self.units.slots)
        self.sockets = Sockets(layout)
        self._complaints: Dict[Place, str] = {}  # why a socket could not be bound, said once
        self._journal = journal
        self._on_change = on_change
        self._clock = clock
        self._loop = loop
        self._timer: Optional[asyncio.TimerHandle] = None
        self._gone: Dict[str, List[asyncio.Future[None]]] = {}
        self._reloads: Dict[Key, List[asyncio.Future[bool]]] = {}
        self._epoch = time.time() - clock()
        self._rounds = Rounds(loop, self.units.slots, self._groups, keeper, self._exceeded, clock)

    # what should run

    def adopt(
        self,
        slots: Iterable[Slot],
        current: Mapping[str, tuple[int, Sequence[Unit]]],
        inherited: Mapping[Key, int],
        sockets: Mapping[Place, int],
    ) -> None:
        """Goes on from where another supervisor was, towards the current generations.

        If we replace it in place, `inherited` are its notify sockets, `sockets` its listeners.
        """
        slots = list(slots)
        now = self._clock()
        unheard = {slot.key for slot in slots if slot.key not in inherited}
        actions = self.units.restore(slots, now, unheard=unheard)
        for place, descriptor in sockets.items():
            self.sockets.take(place, descriptor)
        for slot in slots:
            if slot.pid is None:
                continue
            if slot.key in inherited:
                self.notifications.take(slot.key, inherited[slot.key])
            else:
                self.notifications.open(slot.key)
        # watching comes first, so that what ended meanwhile is known to have ended; the events
        # themselves arrive after this method
        for slot in slots:
            if slot.pid is not None:
                self._exits.add(slot.pid, slot.start)
        for deployment in {slot.key.deployment for slot in slots} | set(current):
            generation, units = current.get(deployment, (0, ()))
            actions += self.units.activate(deployment, generation, units, now, revive=False)[1]
        self._perform(actions)

    def activate(self, deployment: str, generation: int, units: Sequence[Unit]) -> Difference:
        """The deployment's units are now these. Returns before they have started."""
        difference, actions = self.units.activate(deployment, generation, units, self._clock())
        self._perform(actions)
        return difference

    def stop(self, deployment: str) -> asyncio.Future[None]:
        """Everything of the deployment is to end. The future is done when it has."""
        gone: asyncio.Future[None] = self._loop.create_future()
        self._gone.setdefault(deployment, []).append(gone)
        self._perform(self.units.stop(deployment, self._clock())[1])
        return gone

    def kill(self) -> None:
        """SIGKILL to every unit, as they stand; the restart policies hold."""
        for slot in self.units.slots.values():
            if slot.pid is not None:
                self._processes.signal(slot.pid, signal.SIGKILL)

    def restart(self, key: Key) -> None:
        """Raises KeyError when there is no such unit."""
        self._perform(self.units.restart(key, self._clock()))

    async def reload(self, key: Key, what: str) -> Optional[bool]:
        """Tells a unit to take over something anew; whether it did, None if it does not listen or
        does not answer in time. Raises KeyError when there is no such unit."""
        slot = self.units.slots[key]
        if slot.pid is None or not slot.ready or not self._processes.tell(key, f"reload {what}"):
            return None
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._reloads.setdefault(key, []).append(answer)
        try:
            return await asyncio.wait_for(answer, RELOAD_WITHIN)
        except asyncio.TimeoutError:  # noqa: UP041  # another class before 3.11
            return None
        finally:
            waiting = self._reloads.get(key, [])
            waiting.remove(answer)  # others may have asked since
            if not waiting:
                self._reloads.pop(key, None)

    def renew(self, deployment: str, age: float) -> None:
        """Somebody has answered what this machine said `age` seconds ago (see `lease`)."""
        now = self._clock()
        self._perform(self.units.renew(deployment, now - age, now))

    def foresee(self, deployment: str, age: float) -> None:
        """As `renew`, for what is activated next: what is there now is not started for it."""
        self.units.leases.renew(deployment, self._clock() - age)

    def heard(self) -> Dict[str, float]:
        """Deployment -> how many seconds ago the word was said that was answered last."""
        now = self._clock()
        return {name: now - heard for name, heard in self.units.leases.heard.items()}

    def slept(self, seconds: float) -> None:
        """The machine was asleep for so long: leases went on."""
        self.units.leases.slept(seconds)
        self._perform(self.units.tick(self._clock()))

    def on_trial(self, deployment: str, trial: Optional[Pending]) -> None:
        """Which generation of the deployment is on trial, if one is: its units' health commands
        are run."""
        self.examiner.on_trial(deployment, trial)
        self.examiner.update(self.units.slots.values())

    # what is asked

    @property
    def empty(self) -> bool:
        return not self.units.slots

    def states(self, deployment: Optional[str] = None) -> List[Dict[str, Any]]:
        """The records of all units, or of one deployment's."""
        keys = [key for key in self.units.slots if deployment in (None, key.deployment)]
        self._rounds.refresh()
        return [self.state(key) for key in sorted(keys)]

    def state(self, key: Key) -> Dict[str, Any]:
        """A unit's record; of one that has gone the last, with "gone" for its state.

        Raises KeyError for a unit that never was.
        """
        slot = self.units.slots.get(key) or self.units.departed[key]
        if abs(time.time() - self._clock() - self._epoch) > 1:
            self._epoch = time.time() - self._clock()  # the machine's clock was set
        unit = slot.actual if slot.pid is not None else slot.wanted
        check = self.examiner.check(key)
        cores = [] if slot.pid is None else cores_of(slot.pid)
        scheduling = None if slot.pid is None else scheduling_of(slot.pid)
        withheld = slot.withheld and slot.state is State.WAITING
        settled = slot.pid is not None and self._clock() - slot.born >= SETTLED
        return {
            "deployment": key.deployment,
            "name": key.unit,
            "state": slot.state.value if key in self.units.slots else "gone",
            "pid": slot.pid,
            "since": round(self._epoch + slot.since, 3),
            "restarts_at": self._restarts_at(slot),
            "restarts": slot.restarts,
            "exit": None if slot.exit is None else slot.exit.to_json(),
            "error": slot.error or (OVER if withheld else None),
            "status": slot.status,
            "last_lines": list(slot.last_lines),
            "cores": cores,
            "scheduling": scheduling,
            "shortfall": shortfall(unit, cores, scheduling) if settled and unit else None,
            **self._rounds.figures(key),
            "memory_limit": (unit.memory if unit is not None else 0) or None,
            "ready": slot.ready,
            "late": slot.late,
            "health": None if check is None else check.to_json(),
            "generation": slot.generation,
            "fingerprint": None if unit is None else unit.fingerprint,
        }

    def before(self, key: Key) -> Optional[Dict[str, Any]]:
        """What a unit said of itself some seconds before its `status`; None if nothing is known."""
        slot = self.units.slots.get(key)
        found = None if slot is None else slot.sayings.before(self._clock())
        return None if found is None else found._asdict()

    def _restarts_at(self, slot: Slot) -> Optional[float]:
        """When a unit that ended is started again, in seconds since the epoch."""
        if slot.state is not State.BACKOFF or slot.deadline is None:
            return None
        return round(self._epoch + slot.deadline, 3)

    # the end

    def leave(self) -> None:
        """Lets go of everything; units run on for the next supervisor."""
        self._close()
        self._processes.forget()
        self.notifications.leave()
        self.sockets.leave()

    def prepare_exec(self) -> Tuple[Dict[Key, int], Dict[Place, int]]:
        """Notes everything down and returns the descriptors for the program that replaces us.

        They are the units' notify sockets and their listeners.
        """
        self._note()
        self.examiner.close()
        return self.notifications.give(), self.sockets.give()

    def keep(self) -> None:
        """After `prepare_exec`, when that program was not executed after all."""
        self.notifications.keep()
        self.sockets.keep()

    def _close(self) -> None:
        self.examiner.close()
        self._exits.close()
        self._rounds.close()
        if self._groups is not None:
            self._groups.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # events

    def _exited(self, pid: int, start: int) -> None:
        returncode = self._processes.finish(pid, start)
        exit = Exit() if returncode is None else Exit.from_returncode(returncode)
        for key, slot in list(self.units.slots.items()):
            if (slot.pid, slot.start) == (pid, start):
                exit = self._rounds.explain(key, exit)
                log.info("%s (pid %d) %s", key, pid, exit)
                lines = [] if exit.clean else self._ending(key)
                self._perform(self.units.exited(key, pid, exit, self._clock(), lines))

    def _ending(self, key: Key) -> List[str]:
        try:
            return logs.ending(self.layout.log(*key))
        except OSError as error:
            return [f"(the log cannot be read: {error})"]

    def _ready(self, key: Key) -> None:
        slot = self.units.slots.get(key)
        if slot is not None and not slot.ready and self.sockets.lacks(slot):
            self._processes.tell(key, "status")  # adopted before it could be asked for them
        self._answer_reload(key, worked=True)
        self._perform(self.units.ready(key, self._clock()))

    def _refused(self, key: Key) -> None:
        log.warning("%s does not take over what it was told", key)
        self._answer_reload(key, worked=False)
        self._perform(self.units.refused(key, self._clock()))

    def _answer_reload(self, key: Key, *, worked: bool) -> None:
        for answer in self._reloads.get(key, ()):
            if not answer.done():
                answer.set_result(worked)

    def _done(self, key: Key) -> None:
        log.info("%s says that its deployment has done its work", key)
        self._perform(self.units.finish(key.deployment, self._clock()))

    def _alive(self, key: Key) -> None:
        self.units.alive(key, self._clock())  # a tick that comes too early finds nothing to do

    def _unwatched(self, key: Key) -> None:
        self.units.unwatch(key)
        self._after()

    def _exceeded(self, excess: Excess) -> None:
        log.warning("%s uses %d bytes, %d are allowed", *excess)
        self._perform(self.units.exceeded(*excess, self._clock()))

    def _said(self, key: Key, text: str) -> None:
        # Not worth a write of the journal each time: units say it again when it changes.
        if self.units.said(key, text, self._clock()) and self._on_change is not None:
            self._on_change({key})

    def _stored(self, key: Key, name: str, descriptor: int) -> None:
        slot = self.units.slots.get(key)
        if slot is None:
            os.close(descriptor)
        elif self.sockets.take_back(slot, name, descriptor):
            log.info("%s gave back its socket %s", key, name)

    def _examined(self, keys: Set[Key]) -> None:
        if self._on_change is not None:
            self._on_change(keys & self.units.slots.keys())

    def _tick(self) -> None:
        self._timer = None
        self._perform(self.units.tick(self._clock()))

    # actions

    def _perform(self, actions: Iterable[Action]) -> None:
        self._arrange_sockets()  # what is queued may start units
        self._affinity.look()
        queue: Deque[Action] = deque(actions)
        while queue:
            action = queue.popleft()
            try:
                queue.extend(self._act(action))
            except OSError as error:  # what goes wrong with one unit keeps no other from anything
                log.error("%s: %s: %s", action.key, type(action).__name__, error)
        self._after()

    def _act(self, action: Action) -> List[Action]:
        if isinstance(action, Spawn):
            return self._spawn(action)
        if isinstance(action, AskToStop):
            if self._processes.tell(action.key, "stop"):
                return []
            return self.units.deaf(action.key, self._clock())
        if isinstance(action, AskStatus):
            if self._processes.tell(action.key, "status"):
                return []
            return self.units.silent(action.key, self._clock())
        if isinstance(action, Reload):
            if self._processes.reload(action.key, action.unit):
                return []
            return self.units.unreachable(action.key, self._clock())
        if isinstance(action, Signal):
            self._processes.signal(action.pid, action.signal)
        elif isinstance(action, Clean):
            self._processes.clean(action.key)
            self.notifications.close(action.key)
        return []

    def _spawn(self, action: Spawn) -> List[Action]:
        try:
            self.notifications.open(action.key)
            places = [
                (self.sockets.locate(action.key.deployment, entry), entry)
                for entry in action.unit.sockets
            ]
            descriptors = [self.sockets.hold(place, entry) for place, entry in places]
            pid, start = self._processes.spawn(
                action.key,
                action.unit,
                action.restarts,
                descriptors,
                action.returns,
                self._affinity.cores(action.unit),
            )
        except (SpawnFailed, SocketFailed, OSError) as error:
            log.warning("%s: %s", action.key, error)
            return self.units.spawn_failed(action.key, str(error), self._clock())
        log.info("%s started as pid %d", action.key, pid)
        more = self.units.spawned(action.key, pid, start, self._clock())
        self._note()  # before anything else: a process that nobody knows of must not be
        self._exits.add(pid, start)
        return more

    def _arrange_sockets(self) -> None:
        """Binds what units will need and lets go of what none needs any more."""
        work = decide(self.units.slots.values(), self.sockets.held, self.sockets.locate)
        for place in work.release:
            self.sockets.release(place)
        for place, entry in work.bind.items():
            try:
                self.sockets.hold(place, entry)
            except (SocketFailed, OSError) as error:  # its unit will fail for it
                if self._complaints.get(place) != str(error):
                    self._complaints[place] = str(error)
                    log.warning("%s: no socket %s: %s", place.deployment, place.path, error)
            else:
                self._complaints.pop(place, None)

    def _after(self) -> None:
        changed = self.units.take_changed()
        if changed:
            self.examiner.update(self.units.slots.values())
            self._affinity.look()
            self._note()
            if self._on_change is not None:
                self._on_change(changed)
        for deployment in [name for name in self._gone if self.units.gone(name)]:
            for gone in self._gone.pop(deployment):
                if not gone.done():
                    gone.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.units.next_deadline
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock()), self._tick)

    def _note(self) -> None:
        if self._journal is None:
            return
        try:
            self._journal.write(self.units.slots.values())
        except OSError as error:  # a full disk must not end anything; adoption finds units anyway
            log.error("the journal cannot be written: %s", error)
