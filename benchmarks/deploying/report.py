"""Shows what deployers took, and what travelled, as tables with verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.deploying.links import Findings
from benchmarks.deploying.verdicts import ATTACHED, COLD, OURS, TARGETS, Row, Sample


def show(console: Console, rows: Sequence[Row], bare: Sample, alone: float) -> None:
    """`bare`: the first deployment to machines that had nothing; `alone`: the program's start."""
    names = list(dict.fromkeys(name for row in rows for name in row.samples))
    table = Table(
        title="seconds until every host runs what is new (until the command ended)",
        caption="medians; x: times as long as `dora deploy`, and as a cold one; medians of rounds",
    )
    table.add_column("")
    for row in rows:
        table.add_column(row.what, justify="right")
        table.add_column("x", justify="right")
        table.add_column("x cold", justify="right")
    for name in names:
        cells = []
        for row in rows:
            sample = row.middle(name)
            ratios = [times(row.ratio(name)), times(row.ratio(name, COLD))]
            cells += ["", "", ""] if sample is None else [text(sample), *ratios]
        table.add_row(name, *cells)
    console.print(table)
    console.print(f"first contact with bare machines, agent and packages too: {text(bare)} s")
    console.print(f"the program alone, started by nobody but a shell: {alone:.2f} s")
    for ours in (OURS, COLD):
        verdicts = [(row, peer, met) for row in rows for peer, met in row.verdicts(ours).items()]
        met = sum(it for _, _, it in verdicts)
        console.print(f"targets met by {ours}: {met} of {len(verdicts)}", highlight=False)
        for row, peer, fine in verdicts:
            if not fine:
                wanted = f"{TARGETS[peer]:g}x as quick as {peer}"
                told = f"  not met: {row.what}: {wanted}, it is {times(row.ratio(peer, ours))}x"
                console.print(told, highlight=False)
    for row in rows:
        sample = row.middle(ATTACHED)
        if sample is not None and sample.runs is not None:
            rest = sample.runs - alone
            told = f"{ATTACHED}: a saved file runs {sample.runs:.2f} s later: {rest:.2f} s more"
            console.print(f"{told} than the program's own start", highlight=False)


def show_links(console: Console, found: Findings) -> None:
    table = Table(title="what travels")
    for column in ("", "dora", "rsync", "verdict"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right")
    for row in found:
        table.add_row(row.what, row.ours, row.peer, "" if row.met is None else _word(row.met))
    console.print(table)


def _word(met: bool) -> str:
    return "[green]met[/]" if met else "[red]not met[/]"


def text(sample: Sample) -> str:
    if sample.runs is None:
        return f"{sample.done:.2f}"
    return f"{sample.runs:.2f} ({sample.done:.2f})"


def times(ratio: float) -> str:
    if math.isnan(ratio):
        return ""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"
