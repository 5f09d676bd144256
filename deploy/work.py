"""The steps of a deployment, each for one machine; their story is `deploy.apply`. Laptop only."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from deploy.comeback import come_back
from deploy.errors import (
    ConnectionFailed,
    ConnectionLost,
    LockHeld,
    MachineError,
    Refused,
    UpdatesHeld,
)
from deploy.events import (
    Activated,
    Copied,
    Copying,
    Emit,
    MachineFailed,
    RolledBack,
    Unconfirmed,
    Waiting,
    ignore,
)
from deploy.leases import OFTEN, lease_of
from deploy.plan import MachinePlan, Plan
from deploy.profile import Profile
from deploy.proof import last_lines, prove
from deploy.session import Session
from deploy.store.remote import RemoteStore
from deploy.trial import proving_time
from deploy.undertaking import Closures, MachineResult, Options

KEEP_ALIVE = 5.0  # seconds between words to a machine whose lock we hold
RETRY = 0.5  # seconds between attempts to confirm
LOOK = 0.25  # seconds between looks whether somebody still holds updates up


class _NotHealthy(Exception):
    """Some unit of the machine is not; its result says which."""


class Work:
    """The steps, each for one machine; what they find is in `results`."""

    def __init__(
        self,
        plan: Plan,
        closures: Closures,
        sessions: Mapping[str, Session],
        options: Options,
        emit: Emit,
    ) -> None:
        self._name = plan.deployment
        self._closures = closures
        self._sessions = sessions
        self._options = options
        self._emit = emit
        self._timeout = options.timeout(plan)
        self._fresh: dict[str, Session] = {}
        self._trials: dict[str, float] = {}  # machine -> when it goes back by itself
        self._touched: set[str] = set()  # machines that were told to switch
        self.results = {row.machine: MachineResult(row.machine) for row in plan.machines}

    @asynccontextmanager
    async def locked(self, rows: Sequence[MachinePlan]) -> AsyncIterator[tuple[MachinePlan, ...]]:
        """Holds the deployment's lock on all machines; gives those that could be locked.
        Raises LockHeld."""
        taken = []
        try:
            # In order of names, so that two people who start at once cannot block each other.
            for row in sorted(rows, key=lambda row: row.machine):
                if await self.everywhere([row], self._lock):
                    taken.append(row)
            sessions = [self._sessions[row.machine] for row in taken]
            alive = [
                asyncio.create_task(_keep_alive(session, _wanted(row, self._name)))
                for row, session in zip(taken, sessions, strict=True)
            ]
            try:
                yield tuple(row for row in rows if row in taken)
            finally:
                for task in alive:
                    task.cancel()
                await asyncio.gather(*alive, return_exceptions=True)
                await asyncio.gather(*(fresh.close() for fresh in self._fresh.values()))
        finally:
            held = (self._sessions[row.machine] for row in taken)
            await asyncio.gather(*(_unlock(session, self._name) for session in held))

    async def _lock(self, row: MachinePlan) -> None:
        session = self._sessions[row.machine]
        await session.request("lock", deployment=self._name, owner=self._options.owner)

    async def everywhere(
        self, rows: Iterable[MachinePlan], act: Callable[[MachinePlan], Awaitable[None]]
    ) -> tuple[MachinePlan, ...]:
        """Acts on all machines at once; those where that went well. A failure is in the machine's
        result and does not stop the others."""
        rows = tuple(rows)
        outcomes = await asyncio.gather(*(act(row) for row in rows), return_exceptions=True)
        well = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome is None:
                well.append(row)
            elif isinstance(outcome, LockHeld):
                raise outcome
            elif isinstance(outcome, MachineError):
                self._emit(MachineFailed(row.machine, outcome))
                self.results[row.machine].error = outcome
            elif not isinstance(outcome, _NotHealthy):
                raise outcome
        return tuple(well)

    async def hand_over(self, row: MachinePlan) -> None:
        """Under the lock: whoever deploys at the same time has other ones."""
        for name, value in self._closures.secrets.get(row.machine, {}).items():
            await self._sessions[row.machine].request(
                "secret",
                deployment=self._name,
                name=name,
                value=base64.b64encode(value).decode(),
            )

    async def copy(self, row: MachinePlan) -> None:
        manifests = self._closures.manifests.get(row.machine, ())
        if not manifests:
            return
        began = time.monotonic()
        session = self._sessions[row.machine]
        sent = await RemoteStore(row.machine, session.open_store, session.open_work).send(
            self._closures.store,
            manifests,
            lambda done, total: self._emit(Copying(row.machine, done, total)),
            look=self._closures.looks.get(row.machine),
        )
        self.results[row.machine].bytes = sent
        self._emit(Copied(row.machine, sent, time.monotonic() - began))

    async def claim(self, rows: tuple[MachinePlan, ...]) -> bool:
        """From now on nobody can hold updates up on these machines; waits for those who do. All of
        them or none: nobody is kept from moving while others are waited for."""
        rows = tuple(row for row in rows if not row.changes_nothing)
        end = time.monotonic() + self._options.wait
        told: set[str] = set()
        while True:
            tried = await asyncio.gather(*(self._claim(row) for row in rows))
            held = [error for error in tried if error is not None]
            if not held:
                return True
            mine = (row for row, error in zip(rows, tried, strict=True) if error is None)
            await self.everywhere(mine, self._unclaim)
            if time.monotonic() >= end:
                for error in held:
                    self._emit(MachineFailed(error.machine, error))
                    self.results[error.machine].outcome = "held"
                    self.results[error.machine].error = error
                return False
            for error in held:
                if error.machine not in told:
                    told.add(error.machine)
                    self._emit(Waiting(error.machine, error))
            await asyncio.sleep(min(LOOK, max(0.0, end - time.monotonic())))

    async def _claim(self, row: MachinePlan) -> UpdatesHeld | None:
        """Another failure is not told here: the same machine will fail to switch."""
        session = self._sessions[row.machine]
        try:
            regardless = self._options.regardless
            await session.request("claim", deployment=self._name, regardless=regardless)
        except UpdatesHeld as error:
            return error
        except MachineError:
            return None
        return None

    async def _unclaim(self, row: MachinePlan) -> None:
        await self._sessions[row.machine].request("unclaim", deployment=self._name)

    def skip(self, rows: Iterable[MachinePlan]) -> None:
        """Of those that did not come to be switched."""
        for row in rows:
            result = self.results[row.machine]
            if row.machine not in self._touched and result.outcome != "held":
                result.outcome = "skipped"

    async def switch(self, row: MachinePlan) -> None:
        result = self.results[row.machine]
        session, wanted = self._sessions[row.machine], _wanted(row, self._name)
        mark = {}
        if lease_of(wanted) is not None:
            mark = {"mark": (await session.request("lease", deployment=self._name))["mark"]}
        self._touched.add(row.machine)
        self._trials[row.machine] = time.time() + self._timeout  # from here on it may have begun
        try:
            reply = await session.request(
                "activate",
                deployment=self._name,
                profile=wanted.to_json(),
                creator=self._options.owner,
                expected=row.expected,
                confirm_timeout=self._timeout,
                revision=self._options.revision,
                note=self._options.note,
                **mark,
            )
        except (Refused, LockHeld, UpdatesHeld):
            del self._trials[row.machine]
            raise
        except MachineError as error:
            self._unknown(row, error.reason)
            raise
        result.generation, result.previous = int(reply["number"]), reply.get("previous")
        if reply.get("pending") is not None:
            self._trials[row.machine] = time.time() + self._timeout
        else:
            del self._trials[row.machine]
        changes = (tuple(reply.get(key, ())) for key in ("started", "restarted", "stopped", "kept"))
        self._emit(Activated(row.machine, result.generation, *changes))

    async def prove(self, row: MachinePlan) -> None:
        result = self.results[row.machine]
        session = self._sessions[row.machine]
        limit, window = proving_time(self._timeout), self._options.window
        await self._examine(row, session, self._emit, window, limit)
        on_trial = row.machine in self._trials  # a trial of the same may have been left here
        result.outcome = "deployed" if on_trial or not row.up_to_date else "unchanged"

    async def _examine(
        self, row: MachinePlan, session: Session, emit: Emit, window: float, limit: float
    ) -> None:
        result, on_trial = self.results[row.machine], row.machine in self._trials
        wanted = _wanted(row, self._name)
        proof = await prove(session, wanted, emit, window=window, limit=limit, on_trial=on_trial)
        result.units, result.unhealthy = proof.states, proof.unhealthy
        said = {name: last_lines(proof.states.get(name, {})) for name in proof.unhealthy}
        result.last_lines = {name: lines for name, lines in said.items() if lines}
        if proof.unhealthy:
            raise _NotHealthy

    async def reach(self, row: MachinePlan) -> None:
        """Whether a new connection still gets in: what is on trial may have changed that. And
        whether all is still well: other machines may have taken longer than this one."""
        if row.machine in self._trials:
            self._fresh[row.machine] = fresh = await self._sessions[row.machine].again()
            await self._examine(row, fresh, ignore, 0, 0)

    async def confirm(self, row: MachinePlan) -> None:
        if row.machine in self._trials:
            await self._confirm(row)
        if row.wanted is None:  # the generation without units was only to be gone back from
            self.results[row.machine].generation = None

    async def _confirm(self, row: MachinePlan) -> None:
        result = self.results[row.machine]
        number = result.generation
        while True:
            try:
                fresh = self._fresh.get(row.machine)
                if fresh is None:
                    fresh = self._fresh[row.machine] = await self._sessions[row.machine].again()
                    await fresh.start_supervisor()  # it may be that which hung up
                await fresh.request("confirm", deployment=self._name, number=number)
                del self._trials[row.machine]
                return
            except (ConnectionFailed, ConnectionLost) as error:
                lost = self._fresh.pop(row.machine, None)
                if lost is not None:
                    await lost.close()
                if time.time() + RETRY > self._trials[row.machine]:
                    self._unknown(row, str(error.reason))
                    raise
                await asyncio.sleep(RETRY)
            except MachineError as error:
                if isinstance(error, Refused) and error.code == "gone_back":
                    self._went_back(row, error.reason, result.previous)
                else:
                    self._unknown(row, error.reason)
                raise

    async def go_back(self, row: MachinePlan) -> None:
        """Only what is on trial: on other machines nothing was changed."""
        if row.machine not in self._trials:
            return
        result, reason = self.results[row.machine], self._trouble()
        session = self._sessions[row.machine]
        try:
            try:
                number = await self._revert(session, reason)
            except Refused:
                raise
            except MachineError:
                session = await self._recovered(row)
                number = await self._revert(session, reason)
        except MachineError as error:
            self._unknown(row, error.reason)
            raise
        self._went_back(row, reason, number)
        del self._trials[row.machine]
        back = await come_back(session, self._name, result.failed, number, self._emit)
        result.units, result.unrestored = back.states, back.unrestored
        said = {name: back.last_lines.get(name) for name in result.unhealthy}
        result.last_lines = {**result.last_lines, **{n: it for n, it in said.items() if it}}

    async def _revert(self, session: Session, reason: str) -> int | None:
        """What is current afterwards."""
        try:
            reply = await session.request("revert", deployment=self._name, reason=reason)
            number: int | None = reply.get("number")
        except Refused as error:
            if error.code != "not_pending":
                raise
            # Its own time was over before, or it was never switched.
            number = (await session.request("generations", deployment=self._name))["current"]
        return number

    async def _recovered(self, row: MachinePlan) -> Session:
        """The machine after our connection, or its supervisor, has died: over a new one, with one
        that keeps the time of the trial, locked. Raises MachineError."""
        lost = self._fresh.pop(row.machine, None)
        for session in (lost, self._sessions[row.machine]):
            if session is not None:
                await session.close()  # a lock of ours that is left there goes with it
        fresh = self._fresh[row.machine] = await self._sessions[row.machine].again()
        await fresh.start_supervisor()
        try:
            await fresh.request("lock", deployment=self._name, owner=self._options.owner)
        except LockHeld as error:  # whoever has it now decides what becomes of the trial
            raise MachineError(row.machine, error.reason, hint=error.hint) from error
        return fresh

    def leave_alone(self, rows: Iterable[MachinePlan]) -> None:
        """We were interrupted: what is on trial goes back by itself."""
        for row in rows:
            if row.machine in self._trials:
                self._unknown(row, "interrupted")

    def _went_back(self, row: MachinePlan, reason: str, number: int | None) -> None:
        result = self.results[row.machine]
        result.outcome, result.reason = "rolled_back", reason
        result.failed, result.generation, result.back_at = result.generation, number, None
        self._emit(RolledBack(row.machine, number, result.failed, reason))

    def _unknown(self, row: MachinePlan, reason: str) -> None:
        result = self.results[row.machine]
        if result.outcome == "unconfirmed":
            return  # as was said before
        result.outcome, result.reason = "unconfirmed", reason
        result.back_at = self._trials[row.machine]
        self._emit(Unconfirmed(row.machine, result.back_at))

    def _trouble(self) -> str:
        """Why all go back, in a line."""
        parts = []
        for result in self.results.values():
            if result.unhealthy:
                units = (f"{unit} {why}" for unit, why in result.unhealthy.items())
                parts.append(f"{result.machine}: {', '.join(units)}")
            elif result.error is not None:
                parts.append(str(result.error))
        return "; ".join(parts)


def _wanted(row: MachinePlan, deployment: str) -> Profile:
    """A machine that the deployment leaves gets a generation without units, so that it can go back
    like the others."""
    return row.wanted or Profile(deployment, row.machine, ())


async def _keep_alive(session: Session, wanted: Profile) -> None:
    """A lock whose holder says nothing for long is nobody's; and leases run out."""
    lease = lease_of(wanted)
    pause = KEEP_ALIVE if lease is None else min(KEEP_ALIVE, lease / OFTEN)
    mark = None
    while True:
        await asyncio.sleep(pause)
        try:
            reply = await session.request("lease", deployment=wanted.deployment, mark=mark)
        except MachineError:
            return  # the step under way meets the same, and tells
        mark = reply["mark"]
        if reply["lease"] is not None:  # of what runs, which may be what was gone back to
            pause = min(KEEP_ALIVE, reply["lease"] / OFTEN)


async def _unlock(session: Session, deployment: str) -> None:
    try:
        await session.request("unlock", deployment=deployment)
    except MachineError:
        return  # the lock lives as long as the channel, and that is gone
