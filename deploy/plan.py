"""Pure: what machines run, and what they are to run -> what has to change, and why. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.profile import Profile
from deploy.unit import Unit

# Of a unit; closure, env and argv have words of their own.
SETTINGS = (
    "cwd",
    "cores",
    "readiness",
    "start_timeout",
    "restart",
    "stop",
    "order",
    "sockets",
    "watchdog",
)

Action = Literal["start", "restart", "stop", "keep"]


@dataclass(frozen=True)
class Change:
    """What happens to one unit; `reasons` say why it cannot be kept as it is."""

    unit: str
    action: Action
    reasons: tuple[str, ...] = ()


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
    deployment: str, wanted: Mapping[str, Profile], current: Mapping[str, Profile | None]
) -> Plan:
    """Compares profiles, machine by machine.

    `current` holds every machine that answered: the profile that is current there, or None. Of
    `wanted`, only machines that answered are planned for; machines that run the deployment and are
    no longer wanted are emptied.
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
                changes=_changes(found, profile),
            )
        )
    return Plan(deployment, tuple(rows))


def _changes(found: Profile | None, wanted: Profile | None) -> tuple[Change, ...]:
    before = {unit.name: unit for unit in found.units} if found else {}
    after = {unit.name: unit for unit in wanted.units} if wanted else {}
    changes = []
    for name, unit in after.items():
        old = before.get(name)
        if old is None:
            changes.append(Change(name, "start"))
        elif old.fingerprint == unit.fingerprint:
            changes.append(Change(name, "keep"))
        else:
            changes.append(Change(name, "restart", differences(old, unit)))
    changes += [Change(name, "stop") for name in before if name not in after]
    return tuple(changes)


def differences(old: Unit, new: Unit) -> tuple[str, ...]:
    """Why `new` is not `old`, in a user's words; values of variables are not shown."""
    reasons = []
    old_trees, new_trees = (_labels(unit.closure) for unit in (old, new))
    for label in sorted(old_trees.keys() | new_trees.keys()):
        if old_trees.get(label) != new_trees.get(label):
            reasons.append(f"{label} changed")
    for variable in sorted(old.env.keys() | new.env.keys()):
        # A variable that names a store path changes with its tree, which was said already.
        before, after = (_without_trees(unit.env.get(variable)) for unit in (old, new))
        if before != after:
            reasons.append(f"{variable} changed")
    if _strip(old.argv) != _strip(new.argv):
        reasons.append("command changed")
    before_secrets, after_secrets = ({it.variable: it for it in u.secrets} for u in (old, new))
    for variable in sorted(before_secrets.keys() | after_secrets.keys()):
        if before_secrets.get(variable) != after_secrets.get(variable):
            reasons.append(f"secret {variable} changed")
    for field in SETTINGS:
        if getattr(old, field) != getattr(new, field):
            reasons.append(f"{field} changed")
    return tuple(reasons)


def _labels(closure: tuple[str, ...]) -> dict[str, str]:
    return {path.split("-", 1)[1]: path for path in closure}


def _strip(argv: tuple[str, ...]) -> list[str | None]:
    return [_without_trees(part) for part in argv]


def _without_trees(text: str | None) -> str | None:
    """`text` with the hashes of store paths blanked."""
    if text is None or "/store/trees/" not in text:
        return text
    head, *rest = text.split("/store/trees/")
    return head + "".join("/store/trees/" + part[40:] for part in rest)
