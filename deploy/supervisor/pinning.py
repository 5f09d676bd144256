"""Whose cores are whose, over all deployments of a machine. Pure. Machine only; Python >= 3.8.

Units that are pinned (to named or exclusive cores) have them as they stand in the unit; all others
are kept off those cores, as long as that leaves them any.
"""

from __future__ import annotations

from typing import (
    AbstractSet,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Sequence,
    Tuple,
)

from deploy.unit import EXCLUSIVE, SHARED, Unit


class Clash(NamedTuple):
    """Two pinned units that cannot both be on `cores`: at least one wants them for itself.

    `deployment` is "" for another unit of the same profile.
    """

    unit: str
    deployment: str
    other: str
    cores: Tuple[int, ...]

    def __str__(self) -> str:
        cores = ",".join(map(str, self.cores))
        whose = f"{self.other} of {self.deployment}" if self.deployment else self.other
        return f"{self.unit} is to be pinned to {cores}, and so is {whose}"


def clashes(units: Sequence[Unit], others: Mapping[str, Sequence[Unit]]) -> List[Clash]:
    """What keeps `units` from being pinned beside each other, and beside those of `others`
    (deployment -> its units)."""
    found = []
    for place, unit in enumerate(units):
        rivals = [("", other) for other in units[place + 1 :]]
        rivals += [(name, other) for name, them in sorted(others.items()) for other in them]
        for deployment, other in rivals:
            if EXCLUSIVE in (unit.pin, other.pin) and SHARED not in (unit.pin, other.pin):
                cores = tuple(sorted(set(unit.cores) & set(other.cores)))
                if cores:
                    found.append(Clash(unit.name, deployment, other.name, cores))
    return found


def pinned(units: Iterable[Unit]) -> FrozenSet[int]:
    """The cores on which nobody else is to run."""
    return frozenset(core for unit in units if unit.pin != SHARED for core in unit.cores)


def cores_of(unit: Unit, taken: AbstractSet[int], here: AbstractSet[int]) -> Tuple[int, ...]:
    """The cores that the unit is to run on; () for wherever the kernel likes.

    `taken` are those that units are pinned to, `here` all that this machine lets us use. Where
    nothing would be left, the rest is shared after all: slow is better than not at all.
    """
    if unit.pin != SHARED:
        return unit.cores
    may = frozenset(unit.cores) or frozenset(here)
    left = may - taken
    if not left or left == may:
        return unit.cores
    return tuple(sorted(left))


def moved(
    masks: Mapping[int, FrozenSet[int]], given: AbstractSet[int], wanted: AbstractSet[int]
) -> Dict[int, FrozenSet[int]]:
    """The new masks of a unit's threads (thread -> cores), of those whose masks have to change.

    A thread with what the unit was `given` gets what is `wanted` now. One that chose cores for
    itself keeps those of them that the unit may still use.
    """
    found = {}
    for thread, mask in masks.items():
        new = frozenset(wanted) if mask == given else (mask & wanted or frozenset(wanted))
        if new != mask:
            found[thread] = new
    return found
