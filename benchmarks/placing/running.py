"""A flow that runs over a slow link, placed by us and as the first machine that matches."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.lan.bench import Lan
from tests.lan.slow_link import FRAME, HZ, MBIT, ROBOTS, Counted, SlowLink


def compare_running(console: Console, seconds: float) -> bool:
    """Whether all arrives as we place it, and less than half as first match does."""
    with tempfile.TemporaryDirectory() as folder, Lan(ROBOTS) as lan:
        link = SlowLink(lan, Path(folder), Path(folder) / "cache")
        try:
            ours, first = link.placed_by_us(seconds), link.placed_by_first_match(seconds)
        finally:
            link.end()
    table = Table(
        title=f"{HZ} frames a second of {FRAME / 1e3:.0f} kB, from a machine on {MBIT} Mbit/s",
        caption="counted: numbers that the camera sent, and that came to the plot in the end",
    )
    for title in ("", "detector", "sent/s", "arrived/s", "arrived", "Mbit/s out", "target"):
        table.add_column(title, justify="left" if title in ("", "detector") else "right")
    all_arrive, half_is_lost = ours.arrived == ours.sent, first.arrived < first.sent / 2
    _row(table, "ours", ours, "all", all_arrive)
    _row(table, "first match", first, "less than half", half_is_lost)
    console.print(table)
    return all_arrive and half_is_lost


def _row(table: Table, way: str, it: Counted, target: str, met: bool) -> None:
    table.add_row(
        way,
        f"on {it.detector}",
        f"{it.sent / it.seconds:.1f}",
        f"{it.arrived / it.seconds:.1f}",
        f"{it.arrived / it.sent:.1%}",
        f"{it.bytes_out * 8 / it.seconds / 1e6:.2f}",
        f"{target}: {'met' if met else 'NOT MET'}",
    )
