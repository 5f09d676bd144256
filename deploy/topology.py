"""The cores of a machine, what they have in common, and who is pinned to them. Laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, order=True)
class Core:
    """A core as the kernel counts them: a hardware thread. Every other field but `capacity` names
    a group by the lowest number in it; cores of one `physical` are threads of the same core.
    `capacity` is 1024 for the machine's biggest cores."""

    number: int
    physical: int
    cluster: int
    cache: int
    numa: int
    package: int
    capacity: int = 1024

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Core:
        return cls(**{field.name: int(data[field.name]) for field in fields(cls)})


@dataclass(frozen=True)
class Pinned:
    """A unit that has cores of its own; `pin` is `named` or `exclusive`."""

    deployment: str
    unit: str
    cores: frozenset[int]
    pin: str


def flat(numbers: Iterable[int]) -> tuple[Core, ...]:
    """Cores of which nothing else is known: all alike, in one group."""
    numbers = sorted(numbers)
    return tuple(Core(it, it, it, *(numbers[0],) * 3) for it in numbers)
