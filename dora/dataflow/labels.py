"""What is written at the edges of a drawing, and where: beside each other, not on top. Pure.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

from dora.dataflow.boxes import HEIGHT, Box

LINE = 13  # height of a line, in pixels
CHAR = 6.0  # width of a letter, roughly
AIR = 4
FAR = 6  # lines by which a label may be moved


@dataclass(frozen=True)
class Label:
    """`x` is the middle of it, `y` the baseline of its first line."""

    lines: tuple[str, ...]
    x: float
    y: float

    @property
    def half(self) -> float:
        return max(map(len, self.lines)) * CHAR / 2

    def svg(self) -> str:
        return "".join(
            f'<text class="edge-label" x="{self.x:.0f}" y="{self.y + LINE * number:.0f}">'
            f"{escape(text)}</text>"
            for number, text in enumerate(self.lines)
        )


def label_of(start: Box, end: Box, lines: Sequence[str]) -> Label:
    """Halfway between two boxes, or beside a loop."""
    if start is end:
        x, y = start.x + start.width / 2 + 50, start.y + 4
    elif start.y < end.y:
        x, y = (start.x + end.x) / 2, (start.y + end.y) / 2
    else:
        side = -1 if start.x < end.x else 1
        x, y = (start.x + end.x) / 2, start.y + side * (HEIGHT / 2 + 26)
    return Label(tuple(lines), x, y - (len(lines) - 1) * LINE / 2)


def set_apart(labels: Iterable[Label], boxes: Sequence[Box]) -> list[Label]:
    """Each label where it is, or as little above or below as keeps it off the others and off the
    boxes; where it is, if there is no such place near."""
    found: list[Label] = []
    for label in labels:
        steps = sorted(range(-FAR, FAR + 1), key=lambda step: (abs(step), -step))
        tries = [replace(label, y=label.y + step * LINE) for step in steps]
        free = (it for it in tries if not _covered(it, found, boxes))
        found.append(next(free, label))
    return found


def _covered(label: Label, others: Iterable[Label], boxes: Iterable[Box]) -> bool:
    top, bottom = label.y - LINE + 3, label.y + LINE * (len(label.lines) - 1) + 3
    for other in others:
        upper, lower = other.y - LINE + 3, other.y + LINE * (len(other.lines) - 1) + 3
        beside = abs(label.x - other.x) >= label.half + other.half + AIR
        if not beside and top < lower and upper < bottom:
            return True
    return any(
        abs(label.x - box.x) < label.half + box.width / 2
        and top < box.y + HEIGHT / 2
        and box.y - HEIGHT / 2 < bottom
        for box in boxes
    )
