"""A coordinator that stays: connections held open, what is saved deployed. Laptop only.

It holds no truth: it may be killed at any time, and another one finds all that it knew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.connection.base import Connector
from deploy.errors import DeployError, MachineError
from deploy.events import Emit, Event, LinkBack, UnitChanged
from deploy.inventory import Inventory, Machine
from deploy.session import Session
from dora.coordinator.balancing import LOOK, Balancing
from dora.coordinator.changes import Concerned, concerned
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import Deployed, deploy
from dora.coordinator.failover import Failover, Place
from dora.coordinator.guard import Guard
from dora.coordinator.moves import movable, moved, noted, staying
from dora.coordinator.prepare import Prepared, prepare
from dora.coordinator.trials import hold_trials
from dora.coordinator.watch import Line, watch
from dora.dataflow.model import Dataflow
from dora.errors import DoraError

Saves = Callable[[Callable[[], Concerned]], AsyncIterator[frozenset[Path]]]


@dataclass(frozen=True)
class Listener:
    """Whom the coordinator tells. `planned` comes before each deployment that changes something,
    `deployed` after each, also after one that found nothing to do; `refused` tells why what was
    saved is not deployed, and that nothing was changed."""

    emit: Emit
    line: Callable[[Line], None]
    planned: Callable[[Prepared, Contact], None]
    deployed: Callable[[Prepared, Deployed, Contact], None]
    refused: Callable[[DoraError | DeployError], None]
    say: Callable[[str], None] = lambda text: None  # of what it does by itself


class Resident:
    """Keeps a deployment as its files say, from one contact with its machines to the next.

    `read` and `read_inventory` give the files as they are now; they raise DoraError or DeployError
    for bad ones. `options` are those of `dora.coordinator.deploy.deploy`.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        listener: Listener,
        options: Mapping[str, Any],
        *,
        read: Callable[[], Dataflow],
        read_inventory: Callable[[], Inventory],
    ) -> None:
        self._name = name
        self._connector = connector
        self._listener = listener
        self._options = options
        self._read = read
        self._read_inventory = read_inventory
        self._inventory = read_inventory()
        self._balancing = Balancing(name)
        self._failover = Failover({}, time.monotonic())
        self._dataflow: Dataflow | None = None  # that was deployed last
        self._moving: Mapping[str, str] = {}  # node that may move -> where it is
        self._deploying = asyncio.Lock()
        self._concerned: Concerned | None = None
        self._absent: frozenset[str] = frozenset()  # from the last deployment
        self._read_at = 0  # when the files were read last, nanoseconds since the epoch

    def __repr__(self) -> str:
        return f"<Resident of {self._name}>"

    @property
    def inventory(self) -> Inventory:
        """As it was read last."""
        return self._inventory

    async def bring_up(self, found: Contact) -> Deployed:
        """Deploys to the machines that answered. Raises DoraError or DeployError."""
        self._read_at = time.time_ns()
        graces = {
            name: self._inventory.machines[name].grace
            for name in (*found.sessions, *found.unreachable)
        }
        self._failover = Failover(graces, time.monotonic())
        return await self._deploy(found, self._read(), found.sessions, self._listener.emit)

    async def stay(
        self, found: Contact, machines: Mapping[str, Machine], saves: Saves | None
    ) -> None:
        """Watches the machines, and deploys what is saved; returns when there is another inventory
        to begin anew with. Without `saves` it runs until it is cancelled."""
        asked: asyncio.Queue[frozenset[Path]] = asyncio.Queue()
        guard = Guard(self._name, self._failover, self._listener.say)

        def emit(event: Event) -> None:
            self._listener.emit(event)
            guard.emit(event)
            if isinstance(event, LinkBack) and event.machine in self._absent:
                asked.put_nowait(frozenset())  # it has missed something

        tasks = [
            watch(
                self._name,
                found.sessions,
                machines,
                self._connector,
                emit,
                self._listener.line,
                guard.keep,
            ),
            self._balance(found),
            guard.watch(lambda wanted: self._place(found, wanted)),
        ]
        if saves is not None:
            tasks += [self._gather(saves, asked), self._follow(found, asked)]
        running = [asyncio.ensure_future(task) for task in tasks]
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _balance(self, found: Contact) -> None:
        """Scales nodes as their load asks for, if they say so."""
        while True:
            await asyncio.sleep(LOOK)
            if not self._balancing.is_asked_for:
                continue
            async with self._deploying:
                sessions = await _looked(found, self._name)
                counts = await self._balancing.look(found, time.monotonic())
                if not counts:
                    continue
                await hold_trials(self._name, sessions)
                options = {**self._options, "emit": _without_units(self._listener.emit)}
                await self._balancing.scale(sessions, counts, options, self._listener.say)

    async def _place(self, found: Contact, wanted: Place) -> None:
        """Nodes leave machines that are lost or fail them, and machines that return learn it."""
        dataflow = self._dataflow
        assert dataflow is not None, "there is no failover before the first deployment"
        try:
            sessions = await _looked(found, self._name)
            async with self._deploying:
                if not sessions:
                    raise DoraError("no machine answers")
                emit = _without_units(self._listener.emit)
                await self._deploy(found, dataflow, sessions, emit, why=wanted.reasons)
        except (DoraError, DeployError) as error:
            pause = self._failover.put_off(time.monotonic())
            again = "" if pause is None else f"; tried again in {pause:.0f} s"
            self._listener.say(f"{self._name}: nothing is moved yet: {error}{again}")

    async def _gather(self, saves: Saves, asked: asyncio.Queue[frozenset[Path]]) -> None:
        async for saved in saves(self._files):
            if saved := saved or _saved_since(self._files(), self._read_at):
                asked.put_nowait(saved)

    def _files(self) -> Concerned:
        assert self._concerned is not None
        return self._concerned

    async def _follow(self, found: Contact, asked: asyncio.Queue[frozenset[Path]]) -> None:
        said = ""
        while True:
            await _warm(found)
            saved = await asked.get()
            while not asked.empty():
                saved |= asked.get_nowait()
            try:
                if self._files().inventory in saved and self._has_another_inventory():
                    return
                await self._redeploy(found)
                said = ""
            except (DoraError, DeployError) as error:
                if str(error) != said:  # an editor may save a file in several steps
                    self._listener.refused(error)
                said = str(error)

    def _has_another_inventory(self) -> bool:
        """Whether it says something else than before, not only in other words."""
        before, self._inventory = self._inventory, self._read_inventory()
        return before.machines != self._inventory.machines

    async def _redeploy(self, found: Contact) -> None:
        self._read_at = time.time_ns()
        dataflow = self._read()
        sessions = await _looked(found, self._name)
        if not sessions:
            raise DoraError(
                "no machine answers; what was saved is deployed when one is back",
            )
        self._failover.forgive()
        async with self._deploying:
            await self._deploy(found, dataflow, sessions, _without_units(self._listener.emit))

    async def _deploy(
        self,
        found: Contact,
        dataflow: Dataflow,
        sessions: Mapping[str, Session],
        emit: Emit,
        *,
        why: tuple[str, ...] = (),
    ) -> Deployed:
        """`why` nodes may have to move, if that is all that it is for."""
        first = self._concerned is None
        self._absent = frozenset(self._inventory.machines) - frozenset(sessions)
        if first:  # also for a deployment that fails, so that it can be put right
            self._concerned = concerned(dataflow.file, self._inventory.file, ())
        self._failover.began(sessions)
        try:
            return await self._carry_out(found, dataflow, sessions, emit, why, first)
        finally:
            self._failover.broke_off(time.monotonic())

    async def _carry_out(
        self,
        found: Contact,
        dataflow: Dataflow,
        sessions: Mapping[str, Session],
        emit: Emit,
        why: tuple[str, ...],
        first: bool,
    ) -> Deployed:
        failover = self._failover
        await hold_trials(self._name, sessions)
        prepared = await prepare(
            self._name,
            dataflow,
            self._inventory,
            sessions,
            emit,
            bars=failover.bars,
            staying=True,
        )
        self._concerned = concerned(dataflow.file, self._inventory.file, prepared.files)
        if first or not all(row.up_to_date for row in prepared.plan.machines):
            self._listener.planned(prepared, found)
        after = movable(dataflow, prepared.placement.machines)
        moves = moved({**self._moving, **failover.places}, after)
        note = noted(moves, why)
        try:
            if why and all(row.up_to_date for row in prepared.plan.machines):
                result = Deployed(self._name, ())  # what has failed is not started anew for that
            else:
                result = await deploy(prepared, sessions, emit=emit, note=note, **self._options)
        finally:
            await asyncio.gather(*(look.close() for look in prepared.closures.looks.values()))
        self._balancing.follow(dataflow)
        self._dataflow = dataflow
        now = time.monotonic()
        if result.healthy:
            failover.follow(after)
            failover.ended(sessions.keys(), now)
            self._moving = after
            if moves:
                self._listener.say(f"{self._name}: moved {moves}")
            for line in staying(after, failover.bars) if why else ():
                self._listener.say(f"{self._name}: {line}")
        else:
            if not self._moving:
                failover.follow(after)
            pause = failover.put_off(now)
            tried = [
                failover.unhealthy(row.machine, unit, reason, now)
                for row in result.machines
                for unit, reason in row.unhealthy.items()
            ]
            if pause is not None and not any(tried):
                self._listener.say(f"{self._name}: tried again in {pause:.0f} s")
        self._listener.deployed(prepared, result, found)
        return result


def _saved_since(of: Concerned, moment: int) -> frozenset[Path]:
    """The files that were saved after they had been read, before anybody watched them."""
    found = set()
    for path in (of.flow, of.inventory, *of.files):
        try:
            status = path.stat()
        except OSError:
            found.add(path)  # gone
        else:
            if max(status.st_mtime_ns, status.st_ctime_ns) >= moment:
                found.add(path)
    return frozenset(found)


async def _looked(found: Contact, deployment: str) -> dict[str, Session]:
    """The sessions of machines that still answer, with fresh facts."""
    sessions = dict(found.sessions)
    looks = (session.look(deployment) for session in sessions.values())
    outcomes = await asyncio.gather(*looks, return_exceptions=True)
    answered = {}
    for (machine, session), outcome in zip(sessions.items(), outcomes, strict=True):
        if outcome is None:
            answered[machine] = session
        elif not isinstance(outcome, MachineError):  # of those the watch tells
            raise outcome
    return answered


async def _warm(found: Contact) -> None:
    """What is saved next is copied without waiting for a process to start."""
    warming = (session.warm() for session in found.sessions.values())
    for outcome in await asyncio.gather(*warming, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, MachineError):
            raise outcome


def _without_units(emit: Emit) -> Emit:
    """The watch tells of units already."""

    def tell(event: Event) -> None:
        if not isinstance(event, UnitChanged):
            emit(event)

    return tell
