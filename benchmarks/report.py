"""Shows rows: a table on the terminal, a picture in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import BARE_FLOOR, FLOOR, SIZES, Row, Sample

OURS = ("arrow", "numpy", "in place")


def show(
    console: Console,
    title: str,
    rows: Sequence[Row],
    text: Callable[[float], str],
    ways: Sequence[str],
    tail: str,
) -> None:
    """`text` writes one figure; `ways` are the columns, `tail` names the second figure."""
    table = Table(title=title, caption=f"each cell: median ({tail}); ratios: median of pairs")
    table.add_column("")
    table.add_column("size", justify="right")
    for way in ways:
        table.add_column(way, justify="right")
    ratios = [way for way in (*OURS, FLOOR, BARE_FLOOR) if any(way in row.ratios for row in rows)]
    for way in ratios:
        table.add_column(f"{way} x", justify="right")
    table.add_column("lost", justify="right")
    scenario = rows[0].scenario if rows else ""
    for row in rows:
        if row.scenario != scenario:
            table.add_section()
            scenario = row.scenario
        table.add_row(
            row.scenario,
            row.size,
            *(_cell(row.samples.get(way), text) for way in ways),
            *(_ratio(row, way) for way in ratios),
            _lost(row),
        )
    console.print(table)
    _summary(console, rows)


def plot(
    path: Path, title: str, rows: Sequence[Row], unit: str, scale: float, ways: Sequence[str]
) -> None:
    """One panel for each scenario with several sizes; figures are divided by `scale`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    panels = [s for s in scenarios if sum(row.scenario == s for row in rows) > 2]
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5 * len(panels), 4.5), sharey=True, squeeze=False
    )
    for axis, scenario in zip(axes[0], panels, strict=True):
        chosen = [row for row in rows if row.scenario == scenario]
        for number, way in enumerate(ways):
            points = [
                (SIZES[row.size], row.samples[way].middle / scale, row.samples[way].tail / scale)
                for row in chosen
                if way in row.samples and not math.isnan(row.samples[way].middle)
            ]
            if not points:
                continue
            sizes, middles, tails = zip(*points, strict=True)
            colour = f"C{number}"  # the same in every panel, whoever is missing there
            axis.plot(sizes, middles, marker="o", label=way, color=colour)
            axis.fill_between(sizes, middles, tails, color=colour, alpha=0.12)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(scenario)
        axis.set_xlabel("message size (bytes)")
        axis.grid(alpha=0.3, which="both", linewidth=0.4)
    axes[0][0].set_ylabel(unit)
    axes[0][0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _cell(sample: Sample | None, text: Callable[[float], str]) -> str:
    if sample is None or math.isnan(sample.middle):
        return ""
    return f"{text(sample.middle)} ({text(sample.tail)})"


def _ratio(row: Row, way: str) -> str:
    ratio = row.ratios.get(way)
    if ratio is None or math.isnan(ratio):
        return ""
    text = f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}"
    least = row.targets.get(way)
    if least is None:
        return text
    colour, word = ("green", "met") if ratio >= least else ("red", "not met")
    verdict = f"[{colour}]{text} ({least:g}: {word})[/]"
    if row.verdicts().get(f"{way} p99") is False:
        verdict += " [red]p99 worse[/]"
    return verdict


def _lost(row: Row) -> str:
    """Of each way's messages, how many never came, and how many came out of order."""
    words = []
    for way, sample in row.samples.items():
        if sample.lost or sample.disorder:
            share = sample.lost / max(sample.lost + sample.count, 1)
            text = f"{way}: {sample.lost} ({share:.1%})" if sample.lost else f"{way}:"
            words.append(text + (f" {sample.disorder} out of order" if sample.disorder else ""))
    bad = any(way in OURS and (it.lost or it.disorder) for way, it in row.samples.items())
    return f"[red]{'; '.join(words)}[/]" if bad else "; ".join(words)


def _summary(console: Console, rows: Sequence[Row]) -> None:
    verdicts = [(row, name, met) for row in rows for name, met in row.verdicts().items()]
    missed = [(row, name) for row, name, met in verdicts if not met]
    console.print(f"targets met: {len(verdicts) - len(missed)} of {len(verdicts)}", highlight=False)
    for row, name in missed:
        note = "; not even the floor does" if name in row.out_of_reach() else ""
        console.print(f"  not met: {row.scenario}, {row.size}: {name}{note}", highlight=False)
