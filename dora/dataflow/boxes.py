"""The boxes of a drawing and where they stand: in rows, or in a column for each machine. Pure.

Laptop only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

HEIGHT = 46
GAP_X = 36
GAP_Y = 96
MARGIN = 16
CHAR = 8.0  # width of a letter, roughly: browsers choose the font
SMALL = 6.5
TITLE = 26  # above the boxes of a machine
INSIDE = 14  # between a machine's frame and its boxes


@dataclass
class Box:
    """`x` and `y` are the middle of it, in pixels."""

    lines: tuple[str, ...]  # the first one is its name
    builtin: bool
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        name, *small = self.lines
        return max([len(name) * CHAR, *(len(line) * SMALL for line in small)]) + 28


def row_width(boxes: Mapping[str, Box], row: Sequence[str]) -> float:
    return sum(boxes[vertex].width for vertex in row) + GAP_X * (len(row) - 1)


def set_rows(boxes: Mapping[str, Box], rows: Sequence[Sequence[str]]) -> float:
    """Each row in the middle; the width of all."""
    width = max((row_width(boxes, row) for row in rows), default=0.0) + 2 * MARGIN
    for depth, row in enumerate(rows):
        _set_row(boxes, row, (width - row_width(boxes, row)) / 2, MARGIN, depth)
    return width


def set_columns(
    boxes: Mapping[str, Box], rows: Sequence[Sequence[str]], column_of: Mapping[str, str | None]
) -> float:
    """The same, in a column for each machine (None: none), in the order of `column_of`."""
    start = float(MARGIN)
    for column in dict.fromkeys(column_of.values()):
        parts = [[vertex for vertex in row if column_of[vertex] == column] for row in rows]
        title = len(column or "") * CHAR
        width = max(title, *(row_width(boxes, part) for part in parts if part)) + 2 * INSIDE
        for depth, part in enumerate(parts):
            left = start + (width - row_width(boxes, part)) / 2
            _set_row(boxes, part, left, MARGIN + TITLE, depth)
        start += width + GAP_X
    return start - GAP_X + MARGIN


def _set_row(
    boxes: Mapping[str, Box], row: Sequence[str], x: float, top: float, depth: int
) -> None:
    for vertex in row:
        box = boxes[vertex]
        box.x, box.y = x + box.width / 2, top + HEIGHT / 2 + depth * (HEIGHT + GAP_Y)
        x += box.width + GAP_X


def frames(boxes: Mapping[str, Box], column_of: Mapping[str, str | None]) -> list[str]:
    """A frame with its name around the boxes of each machine, as SVG."""
    found = []
    for machine in dict.fromkeys(column_of.values()):
        if machine is None:
            continue
        members = [boxes[vertex] for vertex, column in column_of.items() if column == machine]
        half = len(machine) * CHAR / 2
        left = min(min(box.x - box.width / 2, box.x - half) for box in members) - INSIDE
        right = max(max(box.x + box.width / 2, box.x + half) for box in members) + INSIDE
        top = min(box.y for box in members) - HEIGHT / 2 - TITLE
        bottom = max(box.y for box in members) + HEIGHT / 2 + INSIDE
        found.append(
            f'<rect class="machine" x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" '
            f'height="{bottom - top:.0f}" rx="10"/>'
            # not in the middle: that is where edges come in
            f'<text class="machine" x="{left + 10:.0f}" y="{top + 17:.0f}">'
            f"{escape(machine)}</text>"
        )
    return found
