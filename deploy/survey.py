"""What machines lack of what they are to run, before anything is sent or locked. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.build.profiles import Built
from deploy.differences import Trees
from deploy.errors import DeployError, MachineError
from deploy.profile import Profile
from deploy.session import Session
from deploy.store.outline import outline
from deploy.store.remote import Look, RemoteStore, no_room


@dataclass(frozen=True)
class Survey:
    """Of one machine. `look` is None where nothing changes, or where its store could not be asked:
    then copying will tell why. `trees` has what is known of trees that change, old and new."""

    look: Look | None = None
    trees: Trees = field(default_factory=dict)


async def survey(
    sessions: Mapping[str, Session],
    current: Mapping[str, Profile | None],
    wanted: Mapping[str, Built],
) -> dict[str, Survey]:
    """Asks the stores of all machines that are to change; of others nothing is asked."""

    async def one(machine: str, built: Built) -> Survey:
        found = current.get(machine)
        if found is not None and found.hash == built.profile.hash:
            return Survey()
        there = {it.name: it for it in built.manifests}
        unlike = changing(found, built.profile)
        trees = {name: outline(there[name]) for name in unlike & there.keys()}
        session = sessions[machine]
        store = RemoteStore(machine, session.open_store, session.open_work)
        try:
            look = await store.look(built.manifests, unlike - there.keys())
        except MachineError:
            return Survey(None, trees)
        return Survey(look, {**look.outlines, **trees})

    found = await asyncio.gather(*(one(machine, built) for machine, built in wanted.items()))
    return dict(zip(wanted, found, strict=True))


def changing(old: Profile | None, new: Profile) -> frozenset[str]:
    """The trees that one of two units of a name has, and the other has not."""
    before = {unit.name: set(unit.closure) for unit in old.units} if old is not None else {}
    pairs = ((before[unit.name], set(unit.closure)) for unit in new.units if unit.name in before)
    return frozenset().union(*(one ^ other for one, other in pairs))


def refuse_what_does_not_fit(surveys: Mapping[str, Survey]) -> None:
    """Raises DeployError, naming every machine with too small a disk, before anything is copied."""
    full = [
        error
        for machine, it in surveys.items()
        if it.look is not None and (error := no_room(machine, it.look.missing)) is not None
    ]
    if full:
        raise DeployError("\n".join(error.message for error in full), hint=full[0].hint)
