"""Looking back and going back: what machines ran, and a plan to run it again. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from deploy.errors import MachineError
from deploy.generation import Generation
from deploy.plan import Plan, plan
from deploy.profile import Profile
from deploy.session import Session
from dora.coordinator.revisions import History, Revision, at, history


async def histories(deployment: str, sessions: Mapping[str, Session]) -> dict[str, History]:
    """Of all machines that know the deployment. Raises MachineError."""

    async def one(session: Session) -> History:
        if not session.runs_our_supervisor:
            await session.start_supervisor()
        return history(await session.request("generations", deployment=deployment))

    found = await asyncio.gather(*(one(session) for session in sessions.values()))
    return dict(zip(sessions, found, strict=True))


async def plan_back(
    deployment: str,
    sessions: Mapping[str, Session],
    past: Mapping[str, History],
    revision: Revision,
) -> Plan:
    """What has to change for the machines to be as they were at `revision`.

    Raises MachineError when a machine has lost what it ran then; nothing was changed."""
    wanted: dict[str, Profile] = {}
    current: dict[str, Profile | None] = {}
    numbers = at(past, revision.name)

    async def one(machine: str, session: Session) -> None:
        now = past[machine].current
        current[machine] = (
            (await read_generation(session, deployment, now)).profile if now is not None else None
        )
        number = numbers[machine]
        if number is not None:
            generation = await read_generation(session, deployment, number, whole=True)
            wanted[machine] = generation.profile

    await asyncio.gather(*(one(machine, session) for machine, session in sessions.items()))
    order = list(sessions)
    return plan(
        deployment,
        dict(sorted(wanted.items(), key=lambda pair: order.index(pair[0]))),
        {machine: current[machine] for machine in order},
    )


async def read_generation(
    session: Session, deployment: str, number: int, *, whole: bool = False
) -> Generation:
    """Raises MachineError; with `whole` also when its files are not all there any more."""
    reply = await session.request("generation", deployment=deployment, number=number)
    try:
        generation = Generation.from_json(reply["generation"])
    except (KeyError, TypeError, ValueError) as error:
        raise MachineError(
            session.machine.id, f"its generation {number} cannot be read: {error}"
        ) from error
    missing = reply.get("missing", ())
    if whole and missing:
        raise MachineError(
            session.machine.id,
            f"generation {number} needs {len(missing)} trees or secrets that are not there any "
            f"more, {missing[0]} among them; nothing was changed",
            hint="deploy the files of that time again",
        )
    return generation
