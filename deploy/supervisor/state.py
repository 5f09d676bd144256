"""What is to be done about units: the state machine, pure. Machine only; Python >= 3.8.

Two rules. All that decides when a unit starts, stops or comes back is here and in `restart`;
nothing here touches a process, a file or a clock: every event brings its `now` (monotonic seconds),
and what is to be done is returned as actions. Each action is answered by an event:

    Spawn      -> spawned | spawn_failed       AskToStop -> (nothing) | deaf
    AskStatus  -> ready | silent | (nothing)   Signal, Clean -> (nothing)
    Reload     -> ready | refused | unreachable

and every process that was reported by `spawned` or `restore` ends with one `exited`. Whoever drives
this also calls `tick` at `next_deadline`.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import AbstractSet, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from deploy.supervisor.actions import (
    Action,
    AskStatus,
    Clean,
    Reload,
    Signal,
    Spawn,
)
from deploy.supervisor.key import Key
from deploy.supervisor.ladder import abort, climb, hurry
from deploy.supervisor.lease import Leases
from deploy.supervisor.restart import Again, Exit, decide, mebibytes, returns_after
from deploy.supervisor.sayings import Sayings
from deploy.supervisor.slot import Slot, State, Step
from deploy.unit import Unit

ANSWER = 5.0  # seconds for a unit to say again that it is ready; then it is taken as ready
DRAIN = 2.0  # seconds for which a unit may still hear those of a higher rank that leave before it
SPAWN_RETRY = 1.0  # seconds: what could not be started at all is not tried in a tight loop


@dataclass(frozen=True)
class Difference:
    """What an activation does to the units of a deployment, by name."""

    started: Tuple[str, ...] = ()
    restarted: Tuple[str, ...] = ()
    stopped: Tuple[str, ...] = ()
    kept: Tuple[str, ...] = ()


class Units:
    """All units of all deployments of this machine."""

    def __init__(self) -> None:
        self.slots: Dict[Key, Slot] = {}
        self.departed: Dict[Key, Slot] = {}  # the last of those that went, until they come again
        self.leases = Leases()
        self._changed: Set[Key] = set()
        self._unclear: Set[str] = set()  # deployments that were restored, and not activated yet

    def __repr__(self) -> str:
        return "<Units " + ", ".join(f"{k}:{s.state.value}" for k, s in self.slots.items()) + ">"

    # what should run

    def activate(
        self,
        deployment: str,
        generation: int,
        units: Sequence[Unit],
        now: float,
        *,
        revive: bool = True,
    ) -> Tuple[Difference, List[Action]]:
        """From now on `units` are what the deployment runs.

        Units that gave up start again if `revive`, and those of which nobody knows how they ended;
        those that ended as they should do not.
        """
        self._unclear.discard(deployment)
        wanted = {unit.name: unit for unit in units}
        reloads: List[Action] = []
        names: Dict[str, List[str]] = {"started": [], "restarted": [], "stopped": [], "kept": []}
        for key, slot in self._of(deployment):
            if key.unit not in wanted:
                slot.wanted = None
                self._changed.add(key)
                names["stopped"].append(key.unit)
        for name, unit in wanted.items():
            key = Key(deployment, name)
            slot = self.slots.get(key) or Slot(key, since=now)
            fresh = key not in self.slots
            self.slots[key] = slot
            self.departed.pop(key, None)
            self._changed.add(key)
            slot.wanted = unit
            slot.generation = generation
            if slot.pid is not None:
                names["restarted" if slot.leaving else "kept"].append(name)
                if slot.same and slot.actual is not None:
                    if slot.actual.reload != unit.reload and not slot.leaving:
                        reloads += self._reload(slot, unit, now)
                    slot.actual = unit  # what else there is about it needs no new process
            elif fresh or not slot.same:
                names["started" if fresh else "restarted"].append(name)
                self._begin(slot, now)
            elif revive and slot.given_up:
                names["started"].append(name)
                self._begin(slot, now)
            else:
                names["kept"].append(name)
        difference = Difference(**{verb: tuple(sorted(who)) for verb, who in names.items()})
        return difference, reloads + self._advance(now)

    def stop(self, deployment: str, now: float) -> Tuple[Difference, List[Action]]:
        """From now on the deployment runs nothing; it is `gone` when its last process is."""
        return self.activate(deployment, 0, (), now)

    def finish(self, deployment: str, now: float) -> List[Action]:
        """The deployment has done its work: what runs ends, and nothing is started again, until
        another activation or somebody asks for it."""
        for key, slot in self._of(deployment):
            if slot.wanted is None or slot.state in (State.ENDED, State.FAILED):
                continue
            slot.done = True
            self._changed.add(key)
            if slot.pid is None:
                slot.deadline = None
                slot.move(State.ENDED, now)
        return self._advance(now)

    def restart(self, key: Key, now: float) -> List[Action]:
        """Raises KeyError when no such unit is wanted."""
        slot = self.slots[key]
        if slot.wanted is None:
            raise KeyError(key)
        self._changed.add(key)
        if slot.pid is None:
            restarts = slot.restarts + (1 if slot.actual is not None else 0)
            self._begin(slot, now)
            slot.restarts = restarts
        else:
            slot.again, slot.done = True, False
        return self._advance(now)

    def restore(
        self, slots: Iterable[Slot], now: float, *, unheard: AbstractSet[Key] = frozenset()
    ) -> List[Action]:
        """Takes over what an earlier supervisor left. `activate` follows for what should run, of
        each deployment: until then nothing of it is done, since nobody knows what is wanted.

        `unheard` are units to which nobody may have listened meanwhile.
        """
        actions: List[Action] = []
        for slot in slots:
            self.slots[slot.key] = slot
            self._unclear.add(slot.key.deployment)
            self._changed.add(slot.key)
            if slot.pid is None or slot.actual is None:
                continue
            if slot.ready:
                slot.beat = now
            if slot.actual.reload is not None and not slot.ready:
                actions.append(Reload(slot.key, slot.actual))  # nobody knows how far that was
            elif slot.key in unheard and (not slot.ready or slot.actual.sockets):
                slot.answer_by = None if slot.ready else now + ANSWER
                actions.append(AskStatus(slot.key))
        return actions

    def renew(self, deployment: str, heard: float, now: float) -> List[Action]:
        """Somebody has answered what this machine said at `heard`."""
        self.leases.renew(deployment, heard)
        return self._advance(now)

    # what happened

    def spawned(self, key: Key, pid: int, start: int, now: float) -> List[Action]:
        slot = self.slots[key]
        slot.actual = slot.wanted
        slot.pid, slot.start, slot.born = pid, start, now
        if slot.window is None:
            slot.window = now
        slot.error = None
        slot.status = None
        slot.sayings = Sayings()
        slot.beat = None
        self._changed.add(key)
        if slot.wanted is not None and slot.wanted.readiness != "notify":
            return self.ready(key, now)
        slot.move(State.STARTING, now)
        return self._advance(now)

    def spawn_failed(self, key: Key, error: str, now: float) -> List[Action]:
        """The policy decides, as after a process that failed at once."""
        slot = self.slots[key]
        slot.actual = slot.wanted
        if slot.window is None:
            slot.window = now
        self._ended(slot, Exit(code=127), lived=0.0, now=now)
        slot.exit = None  # there was no process
        slot.last_lines = ()
        slot.error = error
        if slot.state is State.BACKOFF:
            slot.deadline = max(slot.deadline or now, now + SPAWN_RETRY)
        return [Clean(key), *self._advance(now)]

    def ready(self, key: Key, now: float) -> List[Action]:
        slot = self.slots.get(key)
        if slot is None or slot.pid is None or slot.ready:
            return []
        slot.ready = True
        slot.beat = now
        slot.answer_by = None
        slot.late = False
        slot.error = None
        if slot.state is not State.STOPPING:
            slot.move(State.RUNNING, now)
        self._changed.add(key)
        return self._advance(now)

    def refused(self, key: Key, now: float) -> List[Action]:
        """The unit goes on without what it was told to take over: it is not what is wanted."""
        slot = self.slots.get(key)
        if slot is None or slot.pid is None or slot.ready or slot.state is not State.STARTING:
            return []
        slot.late = True
        slot.error = "did not take over its new code, and goes on with the old; its log says why"
        self._changed.add(key)
        return self._advance(now)

    def unreachable(self, key: Key, now: float) -> List[Action]:
        """The unit cannot be told what to take over: a restart does it."""
        slot = self.slots.get(key)
        if slot is None or slot.pid is None:
            return []
        slot.again = True
        self._changed.add(key)
        return self._advance(now)

    def silent(self, key: Key, now: float) -> List[Action]:
        """Nobody listens on the control pipe of a unit that was asked for its status.

        It may not have come so far yet, or never listen: the rest of its start_timeout tells.
        """
        slot = self.slots.get(key)
        if slot is None or slot.answer_by is None or slot.actual is None:
            return []
        window = now if slot.window is None else slot.window
        slot.answer_by = max(slot.answer_by, window + slot.actual.start_timeout)
        return []

    def alive(self, key: Key, now: float) -> None:
        """The unit said WATCHDOG=1."""
        slot = self.slots.get(key)
        if slot is not None and slot.ready:
            slot.beat = now

    def unwatch(self, key: Key) -> None:
        """The unit said that its watchdog is to leave it alone from now on."""
        slot = self.slots.get(key)
        if slot is not None and slot.pid is not None:
            slot.unwatched = True
            self._changed.add(key)

    def exceeded(self, key: Key, used: int, limit: int, now: float) -> List[Action]:
        """The unit uses more memory than it may: killed at once, as what it would still do needs
        more. It ends as the restart policy says."""
        slot = self.slots.get(key)
        if slot is None or slot.pid is None or slot.step is not None:
            return []
        slot.excess = used, limit
        slot.error = f"memory: {mebibytes(used)} used, {mebibytes(limit)} allowed"
        slot.step, slot.deadline = Step.KILLED, None
        slot.move(State.STOPPING, now)
        self._changed.add(key)
        return [Signal(key, slot.pid, signal.SIGKILL)]

    def said(self, key: Key, text: str, now: float) -> bool:
        """The unit said what it is at. Whether that is news; nothing follows from it."""
        slot = self.slots.get(key)
        if slot is None or slot.pid is None:
            return False
        slot.sayings.hear(text, now)
        if slot.status == text:
            return False
        slot.status = text
        return True

    def deaf(self, key: Key, now: float) -> List[Action]:
        """Nobody listens on the control pipe of a unit that was asked to stop."""
        slot = self.slots.get(key)
        if slot is None or slot.step is not Step.ASKED:
            return []
        self._changed.add(key)
        return climb(slot, now)

    def exited(
        self, key: Key, pid: int, exit: Exit, now: float, last_lines: Sequence[str] = ()
    ) -> List[Action]:
        """`last_lines` are the log's; they are kept if the end is an error."""
        slot = self.slots.get(key)
        if slot is None or slot.pid != pid:
            return []  # of a process that we were told of before
        self._changed.add(key)
        leaves = slot.doomed if slot.forced else slot.leaving
        if slot.hung:
            exit = replace(exit, reason="watchdog")
        if slot.excess is not None:
            used, limit = slot.excess
            exit = replace(exit, reason="memory", used=used, limit=limit)
        if slot.ready:
            slot.window = now  # from here on it is trying to become ready once more
        slot.exit = exit
        slot.error = slot.error if slot.step is Step.KILLED else None
        slot.pid, slot.ready, slot.step, slot.deadline = None, False, None, None
        slot.beat, slot.hung, slot.answer_by, slot.leave_by = None, False, None, None
        slot.excess, slot.unwatched = None, False
        if slot.wanted is not None and slot.done and slot.same:
            self._finished(slot, exit, now)
        elif slot.wanted is not None and leaves:
            restarts = slot.restarts + 1 if slot.same else 0
            self._begin(slot, now)
            slot.restarts = restarts
        elif slot.wanted is not None:
            self._ended(slot, exit, lived=now - slot.born, now=now)
        slot.last_lines = () if slot.error is None else tuple(last_lines)
        return [Clean(key), *self._advance(now)]

    def tick(self, now: float) -> List[Action]:
        """Does what is due. May be called at any time."""
        actions: List[Action] = []
        for slot in list(self.slots.values()):
            if slot.answer_by is not None and now >= slot.answer_by:
                actions += self.ready(slot.key, now)
            hung_at = slot.watchdog_deadline
            if hung_at is not None and now >= hung_at:
                self._changed.add(slot.key)
                actions.append(abort(slot, now))
            late_at = slot.start_deadline
            if late_at is not None and now >= late_at:
                slot.late = True
                if slot.wanted is not None and slot.state is State.STARTING:
                    slot.error = f"not ready {slot.wanted.start_timeout:g} s after its start"
                self._changed.add(slot.key)
            if slot.deadline is not None and now >= slot.deadline and slot.step is not None:
                self._changed.add(slot.key)
                actions += climb(slot, now)
        return actions + self._advance(now)

    # what is asked

    @property
    def next_deadline(self) -> Optional[float]:
        times = [slot.deadline for slot in self.slots.values()]
        times += [slot.start_deadline for slot in self.slots.values()]
        times += [slot.watchdog_deadline for slot in self.slots.values()]
        times += [slot.answer_by for slot in self.slots.values()]
        times += [slot.leave_by for slot in self.slots.values() if slot.step is None]
        times += [self.leases.end(slot) for slot in self.slots.values() if not slot.withheld]
        return min((time for time in times if time is not None), default=None)

    def gone(self, deployment: str) -> bool:
        """Whether nothing of the deployment is left here."""
        return not any(key.deployment == deployment for key in self.slots)

    def take_changed(self) -> Set[Key]:
        """The units whose record changed, or went, since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    # decisions

    def _of(self, deployment: str) -> List[Tuple[Key, Slot]]:
        return [item for item in self.slots.items() if item[0].deployment == deployment]

    def _reload(self, slot: Slot, unit: Unit, now: float) -> List[Action]:
        """It counts as ready once it has taken over what `unit` names."""
        self._changed.add(slot.key)
        if not slot.ready and not slot.late:
            slot.again = True  # on its way to something else
            return []
        slot.ready, slot.late, slot.error, slot.window = False, False, None, now
        slot.move(State.STARTING, now)
        return [Reload(slot.key, unit)]

    def _begin(self, slot: Slot, now: float) -> None:
        """As if it had never run; it starts when its turn comes."""
        slot.move(State.WAITING, now)
        slot.window = slot.deadline = slot.step = None
        slot.late = slot.again = slot.ready = slot.done = False
        slot.restarts = slot.attempts = 0
        slot.error = None
        slot.last_lines = ()

    def _ended(self, slot: Slot, exit: Exit, *, lived: float, now: float) -> None:
        assert slot.wanted is not None
        decision = decide(slot.wanted.restart, exit, attempts=slot.attempts, lived=lived)
        self._changed.add(slot.key)
        if isinstance(decision, Again):
            slot.attempts = decision.attempts
            slot.error = str(exit)
            slot.deadline = now + decision.delay
            slot.move(State.BACKOFF, now)
            return
        slot.error = decision.error
        # an exit that nobody saw may well have been a clean one: no alarm, but the error says so
        failed = decision.error is not None and exit.known
        slot.move(State.FAILED if failed else State.ENDED, now)

    def _finished(self, slot: Slot, exit: Exit, now: float) -> None:
        """Whatever its restart policy says. Who was deaf and died of SIGTERM left in time."""
        well = exit.clean or not exit.known or exit.signal == "SIGTERM"
        slot.error = None if well else slot.error or str(exit)
        slot.move(State.ENDED if well else State.FAILED, now)

    def _advance(self, now: float) -> List[Action]:
        """Starts and stops whose turn has come."""
        actions: List[Action] = []
        for slot in self.slots.values():
            self._hold_to_lease(slot, now)
        for key, slot in sorted(self.slots.items(), key=lambda item: item[1].rank):
            if key.deployment in self._unclear:
                continue
            if slot.wanted is None and slot.pid is None:
                self.departed[key] = self.slots.pop(key)
                self._changed.add(key)
                continue
            peers = [peer for other, peer in self._of(key.deployment) if other != key]
            if slot.doomed and slot.step is None:
                if slot.withheld or not self._kept(slot, peers, now):
                    self._changed.add(key)
                    actions += climb(slot, now)
            elif slot.state is State.BACKOFF:
                if slot.deadline is not None and now >= slot.deadline:
                    slot.restarts += 1
                    actions.append(self._spawn(slot, now))
            elif slot.state is State.WAITING:
                # What leaves may hold a camera, a port or a socket that what comes will need.
                leaving = any(peer.leaving for peer in peers)
                held = any(not peer.settled and peer.order < slot.order for peer in peers)
                if not leaving and not held and not slot.withheld:
                    actions.append(self._spawn(slot, now))
        return actions

    def _hold_to_lease(self, slot: Slot, now: float) -> None:
        end = self.leases.end(slot)
        over = end is not None and now >= end
        if over is slot.withheld:
            return
        slot.withheld = over
        self._changed.add(slot.key)
        if over and slot.state is State.BACKOFF:
            self._begin(slot, now)
        elif over:
            hurry(slot, now)  # it may be leaving with more time

    def _kept(self, slot: Slot, peers: Iterable[Slot], now: float) -> bool:
        """Whether one that is to leave stays yet, for others that leave before it. Those of a
        higher order are waited for; those of a higher rank for a moment only: they may be deaf, and
        one after the other would take long."""
        leaving = [peer for peer in peers if peer.leaving]
        if any(peer.order > slot.order for peer in leaving):
            return True
        if not any(peer.order == slot.order and peer.rank > slot.rank for peer in leaving):
            return False
        if slot.leave_by is None:
            slot.leave_by = now + DRAIN
        return now < slot.leave_by

    def _spawn(self, slot: Slot, now: float) -> Spawn:
        assert slot.wanted is not None
        assert slot.pid is None
        slot.deadline = None
        slot.move(State.STARTING, now)
        self._changed.add(slot.key)
        returns = returns_after(slot.wanted.restart, slot.attempts)
        return Spawn(slot.key, slot.wanted, slot.restarts, returns)

    def snapshot(self) -> List[Slot]:
        """Copies of all slots, for tests and for whoever must not change them."""
        return [replace(slot) for slot in self.slots.values()]
