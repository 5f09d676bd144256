"""The smallest set of wishes that cannot be granted together. Pure; laptop only.

Deletion: a wish without which things are still impossible is no part of the reason (Chinneck and
Dravnieks, "Locating Minimal Infeasible Constraint Sets in Linear Programs", ORSA Journal on
Computing 3(2), 1991), here in halves, quarters and so on, so that few questions are asked of many
wishes (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2),
2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def smallest(wishes: Sequence[Item], impossible: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """Of `wishes`, which are impossible together, some that still are, and would not be if any one
    were missing. Where `impossible` does not know, it says False."""
    kept = list(wishes)
    size = max(1, len(kept) // 2)
    while True:
        start, shrunk = 0, False
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if impossible(rest):
                kept, shrunk = rest, True
            else:
                start += size
        if size == 1 and not shrunk:
            return kept
        size = max(1, min(size // 2, len(kept) // 2)) if size > 1 else 1
