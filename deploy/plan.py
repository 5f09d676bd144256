"""Pure: what machines run, and what they are to run -> what has to change, and why. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.differences import Reason, Trees, differences
from deploy.profile import Profile

Action = Literal["start", "restart", "reload", "stop", "keep"]


@dataclass(frozen=True)
class Change:
    """What happens to one unit; `reasons` say why it cannot be kept as it is."""

    unit: str
    action: Action
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class MachinePlan:
    """What happens on one machine. `wanted` None: the deployment leaves it.

    `expected` is the hash of the profile that was found there (None: nothing runs); the machine
    refuses the plan when it has moved on since.
    """

    machine: str
    expected: str | None
    wanted: Profile | None
    changes: tuple[Change, ...]

    @property
    def changes_nothing(self) -> bool:
        """Whether every process stays as it is; documents may still be rewritten."""
        return all(change.action == "keep" for change in self.changes)

    @property
    def up_to_date(self) -> bool:
        return self.changes_nothing and (self.wanted.hash if self.wanted else None) == self.expected


@dataclass(frozen=True)
class Plan:
    """The difference between what the machines run and what the files ask for."""

    deployment: str
    machines: tuple[MachinePlan, ...]

    @property
    def changes_nothing(self) -> bool:
        return all(machine.changes_nothing for machine in self.machines)

    def for_machine(self, name: str) -> MachinePlan:
        """Raises KeyError."""
        for machine in self.machines:
            if machine.machine == name:
                return machine
        raise KeyError(name)


def plan(
    deployment: str,
    wanted: Mapping[str, Profile],
    current: Mapping[str, Profile | None],
    trees: Mapping[str, Trees] | None = None,
) -> Plan:
    """Compares profiles, machine by machine.

    `current` holds every machine that answered: the profile that is current there, or None. Of
    `wanted`, only machines that answered are planned for; machines that run the deployment and are
    no longer wanted are emptied. `trees` are the outlines that are known, by machine: for reasons
    that name files and packages.
    """
    rows = []
    for machine, found in current.items():
        profile = wanted.get(machine)
        if profile is None and found is None:
            continue
        rows.append(
            MachinePlan(
                machine=machine,
                expected=found.hash if found else None,
                wanted=profile,
                changes=changes(found, profile, (trees or {}).get(machine)),
            )
        )
    return Plan(deployment, tuple(rows))


def changes(
    found: Profile | None, wanted: Profile | None, trees: Trees | None = None
) -> tuple[Change, ...]:
    """From one profile to another, unit by unit."""
    before = {unit.name: unit for unit in found.units} if found else {}
    after = {unit.name: unit for unit in wanted.units} if wanted else {}
    rows = []
    for name, unit in after.items():
        old = before.get(name)
        if old is None:
            rows.append(Change(name, "start"))
        elif old.fingerprint == unit.fingerprint and old.reload != unit.reload:
            rows.append(Change(name, "reload", differences(old, unit, trees)))
        elif old.fingerprint == unit.fingerprint:
            rows.append(Change(name, "keep"))
        else:
            rows.append(Change(name, "restart", differences(old, unit, trees)))
    rows += [Change(name, "stop") for name in before if name not in after]
    return tuple(rows)
