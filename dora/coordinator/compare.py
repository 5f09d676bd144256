"""Two states of a deployment, past, present or planned: what differs, and why. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.differences import Trees
from deploy.errors import DeployError, MachineError
from deploy.plan import Change, changes
from deploy.profile import Profile
from deploy.session import Session
from deploy.store.outline import Outline, outline
from deploy.store.remote import RemoteStore
from deploy.survey import changing
from dora.coordinator.prepare import Prepared
from dora.coordinator.revisions import History, Revision, at, revisions
from dora.coordinator.rollback import read_generation

CURRENT = "current"


@dataclass(frozen=True)
class Side:
    """What machines ran, run, or are to run. `what` is how people know it; `generations` are its
    numbers by machine (None: nothing ran there), and empty for files."""

    what: str
    profiles: Mapping[str, Profile]
    generations: Mapping[str, int | None] = field(default_factory=dict)
    trees: Trees = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """`machines` has each machine with a unit on either side: how one becomes the other. `moved`
    has units that left one machine and came to another: (from, to)."""

    before: Side
    after: Side
    machines: Mapping[str, tuple[Change, ...]]

    @property
    def same(self) -> bool:
        return all(it.action == "keep" for row in self.machines.values() for it in row)

    @property
    def moved(self) -> dict[str, tuple[str, str]]:
        places: dict[str, dict[str, list[str]]] = {"stop": {}, "start": {}}
        for machine, row in self.machines.items():
            for change in row:
                if change.action in places:
                    places[change.action].setdefault(change.unit, []).append(machine)
        return {
            unit: (gone[0], places["start"][unit][0])
            for unit, gone in places["stop"].items()
            if len(gone) == 1 and len(places["start"].get(unit, ())) == 1
        }


def numbers(past: Mapping[str, History], word: str) -> tuple[str, dict[str, int | None]]:
    """What a word means: `current`, a revision's number or name; then each machine's generation. Of
    a revision that failed, what was tried. Raises DeployError."""
    if word == CURRENT:
        return CURRENT, {machine: one.current for machine, one in past.items()}
    rows = revisions(past)
    row = next((row for row in rows if word in (str(row.number), row.name)), None)
    if row is None:
        known = f"there are 1 to {len(rows)}, and `{CURRENT}`" if rows else "there is none"
        raise DeployError(
            f"{word!r} is neither a revision nor a flow file; {known}", hint="dora generations"
        )
    return f"revision {row.number}", {**at(past, row.name), **_tried(row)}


def _tried(row: Revision) -> dict[str, int | None]:
    return {machine: it.number if it.units else None for machine, it in row.machines.items()}


async def past_side(
    deployment: str, sessions: Mapping[str, Session], past: Mapping[str, History], word: str
) -> Side:
    """Raises DeployError."""
    what, found = numbers(past, word)
    there = {machine: number for machine, number in found.items() if number is not None}
    read = (read_generation(sessions[it], deployment, number) for it, number in there.items())
    generations = await asyncio.gather(*read)
    profiles = {it: one.profile for it, one in zip(there, generations, strict=True)}
    return Side(what, profiles, found)


def planned_side(what: str, prepared: Prepared) -> Side:
    manifests = (it for each in prepared.closures.manifests.values() for it in each)
    return Side(what, prepared.profiles, trees={it.name: outline(it) for it in manifests})


async def compare(sessions: Mapping[str, Session], before: Side, after: Side) -> Comparison:
    """Asks the machines for outlines of trees that differ. Those that they have no more, and those
    of machines that fail, are told as changed."""

    async def one(machine: str) -> tuple[Change, ...]:
        old, new = before.profiles.get(machine), after.profiles.get(machine)
        known = {**before.trees, **after.trees}
        wanted = changing(old, new) - known.keys() if new is not None else frozenset()
        known.update(await _outlines(sessions[machine], wanted))
        return changes(old, new, known)

    machines = [it for it in sessions if it in before.profiles or it in after.profiles]
    rows = await asyncio.gather(*map(one, machines))
    return Comparison(before, after, dict(zip(machines, rows, strict=True)))


async def _outlines(session: Session, trees: frozenset[str]) -> Mapping[str, Outline]:
    if not trees:
        return {}
    try:
        look = await RemoteStore(session.machine.id, session.open_store).look((), trees)
    except MachineError:
        return {}
    await look.close()
    return look.outlines
