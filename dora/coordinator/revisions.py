"""The fleet's past: revisions, and which generation of each machine belongs to one. Pure; laptop.

One run of `deploy` gives every machine that it activates the same revision. A machine that needed
no change then has none of its own for it: the fleet at a revision is, on each machine, the newest
generation of that revision or an older one, but for those that were gone back from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.errors import DeployError

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
    found: dict[str, int | None] = {}
    for machine, one in histories.items():
        fit = [it for it in one.generations if it.failure is None and it.revision <= revision]
        newest = max(fit, key=lambda it: (it.revision, it.number), default=None)
        found[machine] = newest.number if newest is not None and newest.units else None
    return found


def target(rows: Sequence[Revision], to: str | None) -> Revision:
    """The revision to go to: that with this number or name, or else the one before the current one
    that did not fail. Raises DeployError."""
    if to is not None:
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
    current = next((row for row in rows if row.current), None)
    if current is None:
        raise DeployError(
            "nothing of it runs now, so nothing is known to be before it",
            hint="say where to: dora rollback --to N; dora generations tells the numbers",
        )
    before = [row for row in rows if row.number < current.number and not row.failed]
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
