"""Which generation runs: activates, confirms, goes back, and keeps the time. Machine only; >= 3.8.

What is decided is in `confirmation`. The disk is changed first, then units: a death at any moment
leaves what the next supervisor finishes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, Iterable, Mapping, Optional

from deploy.generation import Failure, Generation
from deploy.profile import Profile
from deploy.supervisor import logs
from deploy.supervisor.confirmation import (
    GoBack,
    Moment,
    Pending,
    Settled,
    Wait,
    begin,
    begins_with,
    decide,
)
from deploy.supervisor.control import Refusal
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.engine import Engine
from deploy.supervisor.health import Check
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.locks import Locks
from deploy.supervisor.proc import boot_id
from deploy.supervisor.slot import Slot, State
from deploy.supervisor.state import Difference

log = logging.getLogger(__name__)

LOOK = 5.0  # seconds at most between looks at the clock: timers stand still while a machine sleeps
RETRY = 1.0  # seconds: going back failed for what may pass, such as a full disk


@dataclass(frozen=True)
class Activation:
    generation: Generation
    difference: Difference
    pending: Optional[Pending]


def moment() -> Moment:
    return Moment(boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class Switch:
    """Needs a running loop. `resume` follows when the engine has adopted what runs.

    Who lets the time of a trial pass is cut off, and their lock with it.
    """

    def __init__(
        self,
        engine: Engine,
        deployments: Deployments,
        locks: Locks,
        *,
        now: Callable[[], Moment] = moment,
    ) -> None:
        self._engine = engine
        self._deployments = deployments
        self._locks = locks
        self._beginners: Dict[str, object] = {}  # deployment -> who had its lock at the switch
        self._now = now
        self._timers: Dict[str, asyncio.TimerHandle] = {}

    def activate(
        self,
        profile: Profile,
        creator: str,
        *,
        confirm_timeout: float = 0,
        revision: str = "",
        note: str = "",
    ) -> Activation:
        """The profile's units are what runs from now on; on trial for `confirm_timeout` seconds, if
        that is not 0. What is current already stays the generation that it is. Raises OSError."""
        name = profile.deployment
        now = self._now()
        lock = self._locks.get(name)
        self._beginners[name] = None if lock is None else lock.holder
        generation = self._deployments.generation(name)
        before = self._deployments.pending(name)
        current = None if generation is None else generation.number
        if generation is None or generation.profile.hash != profile.hash:
            number = max(self._deployments.numbers(name), default=0) + 1
            trial = begin(number, confirm_timeout, now, current=current, before=before)
            # Noted first: a death before the switch is over leaves the old generation.
            self._deployments.write_pending(name, trial)
            if generation is not None and before is not None and before.number == current:
                self._fail(generation, "another one came before it was confirmed", now)
            generation = Generation(number, profile, now.wall, creator, revision, note)
            try:
                self._deployments.add(generation)
                self._deployments.switch(generation)
                if confirm_timeout <= 0:
                    self._settle(generation)
            except OSError:
                self._abandon(name, trial)
                raise
        elif confirm_timeout <= 0:
            self._settle(generation)
        elif before is not None and before.number == generation.number:
            trial = begin(before.number, confirm_timeout, now, current=current, before=before)
            self._deployments.write_pending(name, trial)
        log.info("%s: generation %d is current (%s)", name, generation.number, creator)
        difference = self._engine.activate(name, generation.number, profile.units)
        self._watch(name)
        return Activation(generation, difference, self._deployments.pending(name))

    def confirm(self, deployment: str, number: int) -> None:
        """The generation stays; confirming twice is fine. Raises Refusal("gone_back"), OSError."""
        pending = self._deployments.pending(deployment)
        found = self._deployments.generation(deployment, number)
        current = self._deployments.current(deployment)
        newest = max(self._deployments.numbers(deployment), default=0)
        # when one without units was confirmed, nothing is current any more
        stays = current == number or (current is None and newest == number)
        failure = None if found is None else found.failure
        if found is None or failure is not None or not stays:
            why = f": {failure.reason}" if failure is not None else ""
            raise Refusal(
                "gone_back",
                f"generation {number} is not current any more{why}",
                current=current,
            )
        if pending is not None and pending.number == number:
            log.info("%s: generation %d is confirmed", deployment, number)
            self._settle(found)
        self._watch(deployment)

    def revert(self, deployment: str, reason: str) -> Optional[int]:
        """Goes back from what is on trial; the number of what runs now, None for nothing.
        Raises Refusal("not_pending"), OSError."""
        pending = self._deployments.pending(deployment)
        if pending is None:
            current = self._deployments.current(deployment)
            raise Refusal("not_pending", f"{deployment!r} has no trial to end", current=current)
        self._go_back(deployment, pending, reason)
        return self._deployments.current(deployment)

    def forget(self, deployment: str) -> None:
        """Nothing of the deployment is to run any more, nor to come back. Raises OSError."""
        self._deployments.remove_pending(deployment)  # first, or going back would start something
        self._deployments.deactivate(deployment)
        self._watch(deployment)

    def recover(self, noted: Iterable[Slot], running: AbstractSet[str] = frozenset()) -> None:
        """What was left half done, or whose time is over, on the disk: before units are adopted.

        `noted` is what the last supervisor knew of units; `running` are deployments of which there
        are processes. What a full disk does not allow is tried
        again later: somebody has to be there to whom one can say what may go.
        """
        slots = list(noted)
        begun = {slot.key.deployment for slot in slots} | running
        for name in self._deployments.names():
            try:
                self._recover(name, slots)
                self._begin_with(name, running=name in begun)
            except OSError as error:
                log.error("%s: cannot go back yet: %s", name, error)

    def _recover(self, name: str, slots: Iterable[Slot]) -> None:
        pending = self._deployments.pending(name)
        decision = None if pending is None else self._decide(name, pending)
        if isinstance(decision, Settled):
            self._deployments.remove_pending(name)
        elif isinstance(decision, GoBack) and pending is not None:
            self._return(name, pending, decision.reason, slots)
        current = self._read_current(name)
        if current is not None and not current.profile.units and not isinstance(decision, Wait):
            self._deployments.deactivate(name)  # as far as `_settle` did not come

    def _begin_with(self, name: str, *, running: bool) -> None:
        """Raises OSError."""
        current, booted = self._deployments.current(name), self._deployments.booted(name)
        pending = self._deployments.pending(name) is not None
        number = begins_with(current=current, booted=booted, pending=pending, running=running)
        generation = None if number is None else self._read(name, number)
        if generation is not None and generation.profile.units:
            log.warning("%s: %s was never confirmed, begins with %d", name, current, number)
            self._deployments.link_current(generation)
            self._deployments.remove_pending(name)  # one that could not be read

    def resume(self) -> None:
        for name in self._deployments.names():
            self._watch(name)
            if self._deployments.current(name) is None and self._engine.units.gone(name):
                self._deployments.clear(name)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # the time

    def _watch(self, name: str, at_least: float = 0.0) -> None:
        """Looks again when something may be to be done about a trial."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        pending = self._deployments.pending(name)
        self._engine.on_trial(name, pending)
        if pending is None:
            return
        decision = self._decide(name, pending)
        wait = min(decision.seconds, LOOK) if isinstance(decision, Wait) else 0.0
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(max(wait, at_least), self._look, name)

    def _look(self, name: str) -> None:
        pending = self._deployments.pending(name)
        if pending is None:
            return
        decision = self._decide(name, pending)
        try:
            if isinstance(decision, GoBack):
                self._go_back(name, pending, decision.reason)
                self._locks.break_lock(name)
            elif isinstance(decision, Settled):
                self._deployments.remove_pending(name)
        except OSError as error:
            log.error("%s: cannot go back yet: %s", name, error)
        self._watch(name, at_least=0.0 if isinstance(decision, Wait) else RETRY)

    def _decide(self, name: str, pending: Pending) -> Any:
        return decide(
            pending,
            self._now(),
            current=self._deployments.current(name),
            booted=self._deployments.booted(name),
            held=self._held(name),
        )

    def _held(self, name: str) -> bool:
        lock = self._locks.get(name)
        return lock is not None and lock.holder is not self._beginners.get(name)

    # what is done

    def _settle(self, generation: Generation) -> None:
        """The trial is over, well. One without units means that the deployment has left."""
        name = generation.profile.deployment
        self._deployments.make_booted(generation)
        self._deployments.remove_pending(name)
        if not generation.profile.units:
            self._deployments.deactivate(name)
            if self._engine.units.gone(name):
                self._deployments.clear(name)

    def _abandon(self, name: str, trial: Pending) -> None:
        """What could not be switched to as a whole is undone; if that cannot be either, later.
        Raises OSError."""
        try:
            if self._deployments.current(name) != trial.number:
                self._deployments.remove_generation(name, trial.number)  # makes room
            self._go_back(name, trial, "it could not be written")
            self._deployments.remove_generation(name, trial.number)
        finally:
            self._watch(name)

    def _go_back(self, name: str, pending: Pending, reason: str) -> None:
        slots = self._engine.units.slots.values()
        previous = self._return(name, pending, reason, slots)
        if previous is None:
            self._engine.stop(name)
            if self._engine.units.gone(name):
                self._deployments.clear(name)
        else:
            self._engine.activate(name, previous.number, previous.profile.units)
        self._watch(name)

    def _return(
        self, name: str, pending: Pending, reason: str, slots: Iterable[Slot]
    ) -> Optional[Generation]:
        """Goes back on the disk; what is to run now. Raises OSError."""
        log.warning("%s: goes back from generation %d: %s", name, pending.number, reason)
        tried = self._read(name, pending.number)
        previous = None if pending.previous is None else self._read(name, pending.previous)
        if pending.previous is not None and previous is None:
            log.error("%s: generation %d cannot be gone back to", name, pending.previous)
            self._deployments.remove_pending(name)
            return tried
        if tried is not None:
            units = unhealthy(
                slots, pending.number, name, self._deployments.layout, self._engine.examiner.check
            )
            self._fail(tried, reason, self._now(), units)
        if previous is None:
            self._deployments.deactivate(name)
        else:
            self._deployments.link_current(previous)
        self._deployments.remove_pending(name)
        if previous is not None:
            try:
                self._deployments.write_documents(previous.profile)
            except OSError as error:  # on a full disk units matter more than what tells of them
                log.error("%s: its documents are not those of what runs: %s", name, error)
        return previous

    def _fail(
        self,
        generation: Generation,
        reason: str,
        now: Moment,
        units: Optional[Mapping[str, Mapping[str, Any]]] = None,
    ) -> None:
        if generation.failure is not None:
            return
        try:
            self._deployments.add(generation.failed(Failure(reason, now.wall, units or {})))
        except OSError as error:  # a full disk must not keep what failed running
            log.error("generation %d cannot be marked: %s", generation.number, error)

    def _read_current(self, name: str) -> Optional[Generation]:
        number = self._deployments.current(name)
        return None if number is None else self._read(name, number)

    def _read(self, name: str, number: int) -> Optional[Generation]:
        try:
            return self._deployments.generation(name, number)
        except Unreadable as error:
            log.error("%s", error)
            return None


def unhealthy(
    slots: Iterable[Slot],
    generation: int,
    deployment: str,
    layout: Layout,
    check: Callable[[Key], Optional[Check]],
) -> Dict[str, Dict[str, Any]]:
    """Those units of a generation that are neither ready nor ended as they should, or have not
    passed their health commands."""
    found: Dict[str, Dict[str, Any]] = {}
    for slot in slots:
        ended_well = slot.state is State.ENDED and slot.exit is not None and slot.exit.clean
        if slot.key.deployment != deployment or slot.generation != generation:
            continue
        error, lines = slot.error, list(slot.last_lines)
        if slot.state is State.RUNNING or ended_well:
            checked = check(slot.key)
            if checked is None or checked.error is None:
                continue
            error, lines = checked.error, list(checked.last_lines)
        elif not lines:  # it never ended, or nobody saw it
            try:
                lines = logs.ending(layout.log(*slot.key))
            except OSError as problem:
                lines = [f"(the log cannot be read: {problem})"]
        found[slot.key.unit] = {
            "state": slot.state.value,
            "error": error,
            "exit": None if slot.exit is None else slot.exit.to_json(),
            "last_lines": lines,
        }
    return found
