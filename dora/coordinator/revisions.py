"""The fleet's past: revisions, and which generation of each machine belongs to one. Pure; laptop.

One run of `deploy` gives every machine that it activates the same revision. A machine that needed
no change then has none of its own for it: the fleet at a revision is, on each machine, the newest
generation of that revision or an older one, but for those that were gone back from. A machine that
was away and missed a deployment has none of it either; what it got when it was back completes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.errors import DeployError
from dora.compile.dataplane import ROUTER

FORMAT = "%Y%m%dT%H%M%S"
HEX = 4  # digits behind the time: two laptops may deploy in the same millisecond


@dataclass(frozen=True)
class Past:
    """A generation of one machine, without its profile."""

    number: int
    revision: str
    created: float  # seconds since the epoch, by the machine's clock
    creator: str
    units: tuple[str, ...]
    note: str = ""
    failure: str | None = None  # why it was gone back from


@dataclass(frozen=True)
class History:
    """All generations of a deployment on one machine, oldest first; `current` None: stopped."""

    generations: tuple[Past, ...]
    current: int | None
    pending: int | None = None

    @property
    def current_generation(self) -> Past | None:
        return next((it for it in self.generations if it.number == self.current), None)


@dataclass(frozen=True)
class Revision:
    """`machines` has those that got a generation of it; `current` is the fleet's present state."""

    number: int  # from 1, in the order of time
    name: str
    created: float
    creator: str
    note: str
    machines: Mapping[str, Past]
    current: bool

    @property
    def failures(self) -> Mapping[str, str]:
        return {name: it.failure for name, it in self.machines.items() if it.failure is not None}

    @property
    def failed(self) -> bool:
        """Whether nothing of it stayed."""
        return len(self.failures) == len(self.machines)


def new_revision(now: float, salt: str, *, after: str = "") -> str:
    """Text that sorts by time, later than `after`: UTC with milliseconds, and `salt` (4 hex)."""
    name = f"{_stamp(datetime.fromtimestamp(now, UTC))}-{salt}"
    if name > after:
        return name
    try:
        before = datetime.strptime(after[: -HEX - 1] + "000", FORMAT + ".%f")
    except ValueError:
        return name  # not made here; nothing is known of how it sorts
    return f"{_stamp(before + timedelta(milliseconds=1))}-{salt}"


def history(reply: Mapping[str, Any]) -> History:
    """From a supervisor's answer to `generations`."""
    pending = reply.get("pending")
    return History(
        tuple(_past(row) for row in reply["generations"]),
        reply.get("current"),
        None if pending is None else int(pending["number"]),
    )


def revisions(histories: Mapping[str, History]) -> tuple[Revision, ...]:
    """Of a deployment, oldest first; `histories` are by machine."""
    rows: dict[str, dict[str, Past]] = {}
    for machine, one in histories.items():
        for generation in one.generations:
            rows.setdefault(generation.revision, {})[machine] = generation
    running = [it for one in histories.values() if (it := one.current_generation) is not None]
    current = max((it.revision for it in running), default=None)
    found = []
    for number, name in enumerate(sorted(rows), start=1):
        machines = rows[name]
        first = min(machines.values(), key=lambda it: it.created)
        found.append(
            Revision(
                number=number,
                name=name,
                created=first.created,
                creator=first.creator,
                note=first.note,
                machines=machines,
                current=name == current,
            )
        )
    return tuple(found)


def at(histories: Mapping[str, History], revision: str) -> dict[str, int | None]:
    """The fleet at a revision: machine -> its generation; None: the deployment was not there."""
    newest = {machine: _newest(one, revision) for machine, one in histories.items()}
    found: dict[str, int | None] = {}
    for machine, one in histories.items():
        past = newest[machine]
        if past is not None and any(_moved(past, it) for it in newest.values()):
            past = _next(one, revision) or past
        found[machine] = past.number if past is not None and past.units else None
    return found


def twice(histories: Mapping[str, History], numbers: Mapping[str, int | None]) -> dict[str, str]:
    """Nodes that would run on several machines, if these had the generations of those numbers: node
    -> the machines. That is so while a machine is away that missed that a node was moved."""
    found: dict[str, list[str]] = {}
    for machine, one in histories.items():
        for past in one.generations:
            if past.number == numbers[machine]:
                for unit in set(past.units) - {ROUTER}:
                    found.setdefault(unit, []).append(machine)
    return {unit: ", ".join(sorted(its)) for unit, its in found.items() if len(its) > 1}


def _newest(one: History, revision: str) -> Past | None:
    fit = [it for it in one.generations if it.failure is None and it.revision <= revision]
    return max(fit, key=lambda it: (it.revision, it.number), default=None)


def _next(one: History, revision: str) -> Past | None:
    fit = [it for it in one.generations if it.failure is None and it.revision > revision]
    return min(fit, key=lambda it: (it.revision, -it.number), default=None)


def _moved(past: Past, other: Past | None) -> bool:
    """Whether another machine has got since then what `past` has. No node is on two machines."""
    return (
        other is not None
        and other.revision > past.revision
        and not (set(past.units) & set(other.units)).issubset({ROUTER})
    )


def target(rows: Sequence[Revision], to: str | None, histories: Mapping[str, History]) -> Revision:
    """The revision to go to: that with this number or name, or else the newest one before the
    current one that did not fail, and was another state of the fleet. Raises DeployError."""
    row = _named(rows, to) if to is not None else _before(rows, histories)
    if several := twice(histories, at(histories, row.name)):
        told = "; ".join(f"{unit} on {machines}" for unit, machines in sorted(several.items()))
        raise DeployError(
            f"revision {row.number} is not to be had: a machine was away then, and nodes would run "
            f"twice: {told}",
            hint="choose another one: dora rollback --to N; dora generations tells the numbers",
        )
    return row


def _named(rows: Sequence[Revision], to: str) -> Revision:
    row = next((row for row in rows if to in (str(row.number), row.name)), None)
    if row is None:
        known = f"; there are 1 to {len(rows)}" if rows else ""
        raise DeployError(f"there is no revision {to}{known}", hint="dora generations")
    if row.failed:
        raise DeployError(
            f"revision {to} has failed: {'; '.join(row.failures.values())}",
            hint="deploy its files again, to try it once more",
        )
    return row


def _before(rows: Sequence[Revision], histories: Mapping[str, History]) -> Revision:
    current = next((row for row in rows if row.current), None)
    if current is None:
        raise DeployError(
            "nothing of it runs now, so nothing is known to be before it",
            hint="say where to: dora rollback --to N; dora generations tells the numbers",
        )
    now = at(histories, current.name)
    before = [
        row
        for row in rows
        if row.number < current.number and not row.failed and at(histories, row.name) != now
    ]
    if not before:
        raise DeployError(
            f"there is nothing before revision {current.number}, which runs now",
            hint="dora generations",
        )
    return before[-1]


def _past(row: Mapping[str, Any]) -> Past:
    created = float(row["created"])
    failure = row.get("failure")
    return Past(
        number=int(row["number"]),
        # a generation from before there were revisions is one of its own
        revision=row.get("revision") or f"{_stamp(datetime.fromtimestamp(created, UTC))}-0000",
        created=created,
        creator=str(row["creator"]),
        units=tuple(row["units"]),
        note=str(row.get("note", "")),
        failure=None if failure is None else str(failure["reason"]),
    )


def _stamp(moment: datetime) -> str:
    return f"{moment.strftime(FORMAT)}.{moment.microsecond // 1000:03d}"
