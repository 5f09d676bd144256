"""Reaching many machines at once: who answered, who did not, and why. Laptop only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deploy.connection.base import Connector
from deploy.errors import MachineError
from deploy.events import Emit, Unreachable, ignore
from deploy.inventory import Machine
from deploy.session import Session
from deploy.whereabouts import Known
from dora.errors import DoraError

TURN = 0.0005  # seconds for which one thread may keep another waiting


@dataclass
class Contact:
    """One round of connecting. One machine that is away never stops the others."""

    sessions: dict[str, Session] = field(default_factory=dict)
    unreachable: dict[str, MachineError] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    last_seen: dict[str, float] = field(default_factory=dict)  # of those that did not; see `seen`

    @property
    def required_unreachable(self) -> tuple[str, ...]:
        """Those that did not answer and may not be away (`optional: true` may)."""
        return tuple(name for name in self.unreachable if name not in self.optional)


@asynccontextmanager
async def contact(
    connector: Connector,
    machines: Iterable[Machine],
    emit: Emit = ignore,
    deployment: str | None = None,
    known: Known | None = None,
    starting: bool = False,
    meanwhile: Callable[[], object] | None = None,
) -> AsyncIterator[Contact]:
    """Opens a session to every machine, all at once, and closes them at the end. `deployment` is
    what is about to be deployed, if anything is: see Session.open, also for `known` and
    `starting`. `meanwhile` is called in a thread once all are being asked; what it raises ends
    all of it."""
    machines = list(machines)
    found = Contact(optional=frozenset(machine.id for machine in machines if machine.optional))

    async def reach(machine: Machine) -> None:
        try:
            found.sessions[machine.id] = await Session.open(
                connector,
                machine,
                emit,
                deployment=deployment,
                known=known,
                starting=starting,
            )
        except MachineError as error:
            found.unreachable[machine.id] = error
            emit(Unreachable(machine.id, error))

    try:
        reaching = [asyncio.ensure_future(reach(machine)) for machine in machines]
        try:
            if meanwhile is not None:
                await asyncio.sleep(0)  # what connecting needs is loaded first
                await _beside(meanwhile)
            await asyncio.gather(*reaching)
        except BaseException:
            for one in reaching:
                one.cancel()
            await asyncio.gather(*reaching, return_exceptions=True)
            raise
        refuse_twins(found.sessions.values())
        order = {machine.id: index for index, machine in enumerate(machines)}
        found.sessions = dict(sorted(found.sessions.items(), key=lambda pair: order[pair[0]]))
        yield found
    finally:
        if known is not None:
            known.save()
        await asyncio.gather(*(session.close() for session in found.sessions.values()))


async def _beside(work: Callable[[], object]) -> None:
    """Neither it nor the loop keeps the other waiting for long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        await asyncio.to_thread(work)
    finally:
        sys.setswitchinterval(before)


def refuse_twins(sessions: Iterable[Session]) -> None:
    """Raises DoraError when two machines of the inventory are one host with one store."""
    seen: dict[tuple[str, str, str], str] = {}
    for session in sessions:
        facts = session.facts
        other = seen.setdefault((facts.boot_id, facts.hostname, facts.root), facts.machine)
        if other != facts.machine:
            raise DoraError(
                f"machines {other!r} and {facts.machine!r} of the inventory are one host "
                f"({facts.hostname}) with one store ({facts.root})",
                hint="remove one of them, or give each a `store:` of its own",
            )
