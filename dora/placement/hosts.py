"""The machines as placement sees them: what each has. Data only; laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

GIGABIT = 125e6  # bytes a second; of a link that the inventory says nothing of


class Listed(Protocol):
    """What placement wants to know of the inventory (`deploy.inventory.Machine`)."""

    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def cores(self) -> tuple[int, ...] | None: ...
    @property
    def link(self) -> float | None: ...


@dataclass(frozen=True)
class Found:
    """What was read off a machine; None where nobody asked. `devices` are paths below /dev, `cores`
    those that dataflows may use, `alone` how many physical ones nobody else is pinned to."""

    memory: int | None = None  # bytes
    devices: tuple[str, ...] | None = None
    arch: str | None = None  # as `uname -m` says it
    cores: frozenset[int] | None = None
    alone: int | None = None


@dataclass(frozen=True)
class Host:
    """`usable`: how many cores dataflows may use; `link`: bytes a second; `alone`: how many
    physical cores can be given away for their nodes alone."""

    id: str
    labels: Mapping[str, str]
    answers: bool
    usable: int
    cores: frozenset[int]
    link: float = GIGABIT
    found: Found = field(default_factory=Found)

    @property
    def alone(self) -> int:
        return self.usable if self.found.alone is None else self.found.alone


def hosts_of(
    machines: Iterable[Listed], available: Mapping[str, int], found: Mapping[str, Found]
) -> tuple[Host, ...]:
    """In the order of the inventory, whose word on cores counts for a machine that is away."""
    hosts = []
    for machine in machines:
        named = machine.cores or ()
        answers = machine.id in available
        count = available.get(machine.id, len(named))
        usable = min(len(named), count) if named else count
        it = found.get(machine.id, Found())
        hosts.append(
            Host(
                machine.id,
                machine.labels,
                answers,
                usable,
                frozenset(named or range(count)) if it.cores is None else it.cores,
                machine.link or GIGABIT,
                it,
            )
        )
    return tuple(hosts)
