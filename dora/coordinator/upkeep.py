"""Keeping machines in order: removing what is old, looking for damage, locks. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from deploy import agent
from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session
from deploy.store.collect import Collected
from deploy.store.remote import RemoteStore
from deploy.store.verify import Verified
from dora.coordinator.deploy import owner

Value = TypeVar("Value")


@dataclass(frozen=True)
class Emptied:
    """What went from one machine: generations (deployment -> numbers) and store paths."""

    generations: Mapping[str, tuple[int, ...]]
    store: Collected


async def collect(
    sessions: Mapping[str, Session], keep: int, emit: Emit = ignore
) -> dict[str, Emptied | MachineError]:
    """Removes on every machine all but the newest `keep` generations of each deployment (and those
    in use), then what no generation needs. Nobody can deploy there meanwhile."""

    async def one(session: Session) -> Emptied:
        await _ready(session)
        await session.request("lock_all", owner=owner())
        try:
            pruned = await session.request("prune", keep=keep)
            supervisor = str((await session.request("hello"))["agent"])
            store = await RemoteStore(session.machine.id, session.open_store).collect(
                pruned["closure"], {supervisor, agent.bundle().hash}
            )
        finally:
            await _release(session)
        removed = {name: tuple(numbers) for name, numbers in pruned["removed"].items() if numbers}
        return Emptied(removed, store)

    return await _everywhere(sessions, one, emit)


async def verify(
    sessions: Mapping[str, Session], *, repair: bool = False, emit: Emit = ignore
) -> dict[str, Verified | MachineError]:
    """Reads the stores of all machines; with `repair`, removes what is damaged there."""

    async def one(session: Session) -> Verified:
        return await RemoteStore(session.machine.id, session.open_store).verify(repair=repair)

    return await _everywhere(sessions, one, emit)


async def unlock(
    deployment: str, sessions: Mapping[str, Session], emit: Emit = ignore
) -> dict[str, str | MachineError | None]:
    """Takes the deployment's lock from whoever has it; machine -> who had it."""

    async def one(session: Session) -> str | None:
        if not session.facts.supervisor.get("running"):
            return None  # a lock lives in the supervisor
        await _ready(session)
        broken = (await session.request("break_lock", deployment=deployment))["broken"]
        return None if broken is None else str(broken["owner"])

    return await _everywhere(sessions, one, emit)


async def pause(
    sessions: Mapping[str, Session], reason: str, emit: Emit = ignore
) -> dict[str, Mapping[str, Any] | MachineError]:
    """Nothing is switched on these machines until `resume`, also after a reboot; machine -> the
    pause. Refused where a deployment is being switched."""

    async def one(session: Session) -> Mapping[str, Any]:
        await _ready(session)
        reply = await session.request("pause", owner=owner(), reason=reason)
        return dict(reply["pause"])

    return await _everywhere(sessions, one, emit)


async def resume(
    sessions: Mapping[str, Session], emit: Emit = ignore
) -> dict[str, Mapping[str, Any] | MachineError | None]:
    """Ends pauses; machine -> what it was."""

    async def one(session: Session) -> Mapping[str, Any] | None:
        await _ready(session)
        found = (await session.request("resume"))["pause"]
        return None if found is None else dict(found)

    return await _everywhere(sessions, one, emit)


async def autostart(
    sessions: Mapping[str, Session], act: str, emit: Emit = ignore
) -> dict[str, Mapping[str, Any] | MachineError]:
    """Whether machines start their supervisor at boot: `enable`, `disable` or `status`. Refused
    for embedded machines, which do not boot."""

    async def one(session: Session) -> Mapping[str, Any]:
        if session.machine.embedded:
            raise MachineError(
                session.machine.id,
                "an embedded machine is part of this laptop and does not boot",
                hint="reach this computer over SSH (`host: localhost`) to have it start by itself",
            )
        if act == "enable":
            await _ready(session)  # what is written names the agent of the supervisor that runs
        return await session.autostart(act)

    return await _everywhere(sessions, one, emit)


async def _ready(session: Session) -> None:
    if not session.runs_our_supervisor:
        await session.start_supervisor()


async def _release(session: Session) -> None:
    try:
        await session.request("unlock_all")
    except MachineError:
        return  # the lock lives as long as the channel, and that is gone


async def _everywhere(
    sessions: Mapping[str, Session], act: Callable[[Session], Awaitable[Value]], emit: Emit
) -> dict[str, Value | MachineError]:
    async def one(session: Session) -> Value | MachineError:
        try:
            return await act(session)
        except MachineError as error:
            emit(MachineFailed(session.machine.id, error))
            return error

    found = await asyncio.gather(*(one(session) for session in sessions.values()))
    return dict(zip(sessions, found, strict=True))
