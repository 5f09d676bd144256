"""What a name on the command line stands for: a unit, or all replicas of a node. Pure; laptop."""

from __future__ import annotations

from collections.abc import Iterable


def units_named(name: str, units: Iterable[str]) -> tuple[str, ...]:
    """`detect.2` is itself; `detect` all replicas among `units`, by their numbers. What is neither
    stands for itself: whoever is asked knows best."""
    numbers = {}
    for unit in units:
        if unit == name:
            return (name,)
        node, _, number = unit.rpartition(".")
        if node == name and number.isdigit():
            numbers[int(number)] = unit
    return tuple(numbers[it] for it in sorted(numbers)) or (name,)
