"""From measured times to a table: medians, tails, ratios of pairs, targets met or not. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SIZES = {
    "8 B": 8,
    "512 B": 512,
    "4 KB": 4096,
    "40 KB": 40_960,
    "400 KB": 409_600,
    "4 MB": 4_096_000,
    "40 MB": 40_960_000,
}
PEER = "dora-rs"
FLOOR = "floor"  # no library: a copy, and a few bytes through a pipe to each reader
BARE_FLOOR = "floor in place"  # without the copy


@dataclass(frozen=True)
class Sample:
    """What one way of sending showed, in any unit. `middle` is the median."""

    middle: float
    tail: float  # the 99th percentile; of rates, the slowest
    count: int
    lost: int = 0
    disorder: int = 0


@dataclass
class Row:
    """One line of a table. `ratios`: how many times better than dora-rs, median of the pairs."""

    scenario: str
    size: str
    samples: Mapping[str, Sample]
    ratios: Mapping[str, float]
    targets: Mapping[str, float] = field(default_factory=dict)
    compare_tails: bool = True

    def verdicts(self) -> dict[str, bool]:
        """Target -> whether it is met. The tail counts for each of our ways that has a target."""
        found = {}
        for way, least in self.targets.items():
            if way in self.ratios:
                found[f"{way} {least:g}x"] = self.ratios[way] >= least
        if self.compare_tails and PEER in self.samples:
            for way in self.targets:
                if way in self.samples:
                    found[f"{way} p99"] = self.samples[way].tail <= self.samples[PEER].tail
        return found

    def out_of_reach(self) -> frozenset[str]:
        """The verdicts whose ratio was beyond the floor's in this run; they stay what they are."""
        copied = self.ratios.get(FLOOR, math.inf)
        limits = {"in place": self.ratios.get(BARE_FLOOR, math.inf)}
        return frozenset(
            f"{way} {least:g}x"
            for way, least in self.targets.items()
            if least > limits.get(way, copied)
        )


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(max(math.ceil(share * len(ordered)) - 1, 0), len(ordered) - 1)]


def latencies(rounds: Sequence[Sequence[float | None]]) -> Sample:
    """`rounds`: for each message the time to each of its readers, None where it was lost."""
    times = [time for readers in rounds for time in readers if time is not None]
    lost = sum(time is None for readers in rounds for time in readers)
    if not times:
        return Sample(math.nan, math.nan, 0, lost)
    return Sample(statistics.median(times), quantile(times, 0.99), len(times), lost)


def paired(
    theirs: Iterable[Sequence[float | None]], ours: Iterable[Sequence[float | None]]
) -> float:
    """Median of the ratios of messages that were sent one after the other; NaN without pairs."""
    ratios = []
    for there, here in zip(theirs, ours, strict=False):
        them = [time for time in there if time is not None]
        us = [time for time in here if time is not None]
        if them and us:
            ratios.append(statistics.fmean(them) / statistics.fmean(us))
    return statistics.median(ratios) if ratios else math.nan


def middles(bursts: Iterable[Sequence[float | None]]) -> list[list[float | None]]:
    """Of each burst the median, as `paired` takes it: with the mean, one stall of the machine
    would speak for a hundred messages."""
    found: list[list[float | None]] = []
    for burst in bursts:
        times = [time for time in burst if time is not None]
        found.append([statistics.median(times) if times else None])
    return found


def rates(found: Sequence[float], lost: int, disorder: int) -> Sample:
    """`found`: messages per second, one figure for each flood."""
    if not found:
        return Sample(math.nan, math.nan, 0, lost, disorder)
    return Sample(statistics.median(found), min(found), len(found), lost, disorder)


def duration(nanoseconds: float) -> str:
    """As people read it: three digits."""
    if math.isnan(nanoseconds):
        return "-"
    for limit, unit, scale in ((1e6, "us", 1e3), (1e9, "ms", 1e6), (math.inf, "s", 1e9)):
        if nanoseconds < limit:
            return f"{_three(nanoseconds / scale)} {unit}"
    raise AssertionError("unreachable")


def rate(per_second: float) -> str:
    if math.isnan(per_second):
        return "-"
    return f"{_three(per_second / 1000)} k/s" if per_second >= 10_000 else f"{per_second:.0f}/s"


def _three(number: float) -> str:
    return (
        f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"
    )
