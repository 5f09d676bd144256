"""How a unit is made to leave, step by step; pure. Machine only; Python >= 3.8.

Asked through its control pipe, then SIGTERM, then SIGKILL, each when the one before has had its
time. One that hangs gets SIGABRT first. What a lease that ran out stops has less time.
"""

from __future__ import annotations

import signal
from typing import List

from deploy.supervisor.actions import Action, AskToStop, Signal
from deploy.supervisor.lease import KILL_AFTER, TERM_AFTER
from deploy.supervisor.slot import Slot, State, Step


def climb(slot: Slot, now: float) -> List[Action]:
    """The next step; nothing for one without a process."""
    if slot.actual is None or slot.pid is None:
        return []
    policy = slot.actual.stop
    if slot.step is None:
        slot.step = Step.ASKED
        slot.deadline = now + policy.term_after
        slot.move(State.STOPPING, now)
    elif slot.step is Step.ASKED:
        slot.step = Step.TERMED
        slot.deadline = now + policy.kill_after
    else:
        if slot.step is Step.TERMED:
            slot.error = "did not react to SIGTERM and was killed"
        slot.step, slot.deadline = Step.KILLED, None
        return [Signal(slot.key, slot.pid, signal.SIGKILL)]
    if slot.withheld:
        hurry(slot, now)
    if slot.step is Step.ASKED:
        return [AskToStop(slot.key)]
    return [Signal(slot.key, slot.pid, signal.SIGTERM)]


def hurry(slot: Slot, now: float) -> None:
    """From now on it has no more time for its step than a lease that ran out gives."""
    if slot.step in (Step.ASKED, Step.TERMED) and slot.deadline is not None:
        within = TERM_AFTER if slot.step is Step.ASKED else KILL_AFTER
        slot.deadline = min(slot.deadline, now + within)


def abort(slot: Slot, now: float) -> Signal:
    """The watchdog's first step: SIGABRT, by which a program can tell where it hung.

    It ends as the restart policy says, not as one that was asked to leave.
    """
    assert slot.pid is not None
    assert slot.actual is not None
    slot.hung = True
    slot.error = f"watchdog: no WATCHDOG=1 for {slot.actual.watchdog:g} s"
    slot.step = Step.ABORTED
    slot.deadline = now + slot.actual.stop.kill_after
    slot.move(State.STOPPING, now)
    return Signal(slot.key, slot.pid, signal.SIGABRT)
