"""What a row of the fault table found, and the table. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.tapes import Count

HEAD = (
    "fault",
    "ran on meanwhile",
    "events in nodes",
    "status",
    "detected (s)",
    "normal again (s)",
    "promised: came of sent",
    "not promised: came of sent",
    "verdict",
)
WIDTH = 26  # characters of a column, at most


@dataclass
class Finding:
    """Filled in by a row as it goes, so that what failed can be shown, too."""

    fault: str
    meanwhile: str = ""
    events: str = ""
    status: str = ""
    detected: dict[str, float] = field(default_factory=dict)  # by whom -> seconds after the fault
    normal: float | None = None  # seconds from the fault, or from its end where it lasts
    promised: Count | None = None
    unpromised: Count | None = None
    verdict: str = "failed"

    def cells(self) -> tuple[str, ...]:
        return (
            self.fault,
            self.meanwhile,
            self.events,
            self.status,
            ", ".join(f"{who} {seconds:.2f}" for who, seconds in self.detected.items()) or "-",
            "-" if self.normal is None else f"{self.normal:.2f}",
            _count(self.promised),
            _count(self.unpromised),
            self.verdict,
        )


def _count(count: Count | None) -> str:
    if count is None or not count.edges:
        return "-"
    lost = f", {count.lost} lost" if count.lost else ", none lost"
    return f"{count}{lost} ({count.edges} edges)"


def table(findings: Iterable[Finding]) -> str:
    """With lines wrapped within their columns."""
    rows = [[_wrapped(it) for it in row] for row in (HEAD, *(it.cells() for it in findings))]
    columns = zip(*rows, strict=True)
    widths = [max(len(line) for cell in column for line in cell) for column in columns]
    rule = "-+-".join("-" * width for width in widths)
    lines = []
    for row in rows:
        for number in range(max(map(len, row))):
            cells = (cell[number] if number < len(cell) else "" for cell in row)
            lines.append(" | ".join(f"{it:{w}}" for it, w in zip(cells, widths, strict=True)))
        lines.append(rule)
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH) or [""]
