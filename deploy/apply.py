"""The story of a deployment: lock, copy, switch, prove, confirm, or go back. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from deploy.batches import batches
from deploy.events import Emit, ignore
from deploy.plan import MachinePlan, Plan
from deploy.session import Session
from deploy.undertaking import Closures, MachineResult, Options
from deploy.work import Work


async def apply(
    plan: Plan,
    closures: Closures,
    sessions: Mapping[str, Session],
    options: Options,
    emit: Emit = ignore,
) -> tuple[MachineResult, ...]:
    """Makes the machines run what `plan` wants.

    Nothing is switched anywhere before everything is copied everywhere; a machine that fails while
    copying is left as it was, and the others go on. What is switched to is on trial: it stays when
    every unit of every machine was ready and every machine let us in once more. Else all that had
    switched go back, unless `options.rollback` is off; those that do not hear us any more do so by
    themselves. With `options.serial` that is done batch by batch: those before a batch that fails
    stay, those after it are left as they were. Sessions need a running supervisor. Raises LockHeld
    when somebody else is deploying.
    """
    work = Work(plan, closures, sessions, options, emit)
    rows = plan.machines
    try:
        async with work.locked(rows) as rows:
            rows = await work.everywhere(rows, work.hand_over)
            rows = await work.everywhere(rows, work.copy)
            rest = list(batches(rows, options.serial))
            while rest and await work.claim(rest[0]) and await _change(work, rest[0], options):
                del rest[0]
            work.skip(row for batch in rest for row in batch)
    except asyncio.CancelledError:
        work.leave_alone(rows)
        raise
    return tuple(work.results[row.machine] for row in plan.machines)


async def _change(work: Work, rows: tuple[MachinePlan, ...], options: Options) -> bool:
    """Switches these machines, and back unless all goes well. Whether it does."""
    switched = await work.everywhere(rows, work.switch)
    proven = await work.everywhere(switched, work.prove)
    reached = await work.everywhere(proven, work.reach)
    if len(reached) < len(rows) and options.rollback:
        await work.everywhere(rows, work.go_back)
        return False
    confirmed = await work.everywhere(switched, work.confirm)
    return len(reached) == len(rows) == len(confirmed)
