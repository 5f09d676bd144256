"""How many messages pass, and what they cost, beside dora-rs: `python -m benchmarks.throughput`.

Floods: one process sends as fast as it can, in turn through either library, for a moment each.
On one machine ours blocks the sender when a reader's queue is full and loses nothing; dora-rs does
not, so its queues hold 10,000 messages and what it loses is counted. CPU: of all processes that a
message passes, at a steady rate. Prints a table and writes a picture.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.between import BetweenStage, DirectStage
from benchmarks.figures import FLOOR, PEER, SIZES, Row, Sample, duration, rate, rates
from benchmarks.network import Network, NetworkError
from benchmarks.peer import install
from benchmarks.report import plot, show
from benchmarks.stage import Stage, StageError

OURS = ("arrow", "numpy", "in place")
WAYS = (PEER, *OURS, FLOOR)
LARGE = 4_000_000  # bytes

# What we aim at, at least: how many times more than dora-rs.
LEAST = {"4 MB": 24.0, "40 MB": 40.0}
SMALL = 4.0
CPU = {"4 KB": {"arrow": 3.0}}
STEADY = {"4 KB": 500.0, "4 MB": 30.0}  # messages per second


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter floods: below two minutes")
    parser.add_argument("--plot", type=Path, default=Path("throughput.png"), metavar="FILE")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 220)
    passes, seconds = (1, 0.25) if chosen.quick else (4, 0.4)
    try:
        peer = install()
        with Stage(peer) as stage:
            rows = floods(stage, "one to one", "one", passes, seconds)
            rows += floods(stage, "one to four", "four", passes, seconds)
            costs = cpu(stage, passes, 1.0 if chosen.quick else 3.0)
        with Network() as network, BetweenStage(peer, network) as between:
            rows += floods(between, "two machines", "one", min(passes, 2), seconds)
        with Network() as network, DirectStage(peer, network) as between:
            rows += floods(between, "two machines, direct", "one", min(passes, 2), seconds)
    except NetworkError as error:
        console.print(f"two machines: not measured: {error}", markup=False)
    except (StageError, RuntimeError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(console, "messages per second beside dora-rs", rows, rate, WAYS, "slowest")
    show(
        console,
        "CPU time of all processes for each message",
        costs,
        duration,
        WAYS,
        "most",
    )
    plot(chosen.plot, "throughput (median, shaded to slowest)", rows, "messages/s", 1.0, WAYS)
    console.print(f"picture: {chosen.plot}")
    return 0


def floods(stage: Stage, scenario: str, fan: str, passes: int, seconds: float) -> list[Row]:
    """The rate is that of the slowest reader."""
    local = stage.layer == "shm"
    found: dict[str, dict[str, list[float]]] = {}
    lost: dict[str, dict[str, list[int]]] = {}
    for number in range(passes):
        for name, size in SIZES.items():
            ways = [PEER, "arrow", "numpy"]
            ways += ["in place"] if local and size >= LARGE else []
            ways += [FLOOR] if stage.has_floor else []
            longer = seconds * (1 if size < LARGE else 3 if name == "4 MB" else 6)
            shift = number % len(ways)
            for way in (*ways[shift:], *ways[:shift]):
                job = {"size": size, "fan": fan, "way": way}
                if number == 0:  # memory gets its pages
                    stage.ask("flood", **job, seconds=longer / 2)
                result = stage.ask("flood", **job, seconds=longer)
                readers = result["readers"]
                per_second = min(_rate(reader) for reader in readers)
                if not math.isnan(per_second):
                    found.setdefault(name, {}).setdefault(way, []).append(per_second)
                counts = lost.setdefault(name, {}).setdefault(way, [0, 0, 0])
                counts[0] += result["sent"] * len(readers)
                counts[1] += sum(reader["count"] for reader in readers)
                counts[2] += sum(reader["disorder"] for reader in readers)
    rows = []
    for name, ways_found in found.items():
        samples = {}
        for way, per_seconds in ways_found.items():
            sent, came, disorder = lost[name][way]
            sample = rates(per_seconds, sent - came, disorder)
            samples[way] = Sample(sample.middle, sample.tail, came, sent - came, disorder)
        theirs = ways_found.get(PEER, [])
        ratios = {
            way: statistics.median(here / there for here, there in zip(ours, theirs, strict=False))
            for way, ours in ways_found.items()
            if way != PEER and theirs
        }
        least = LEAST.get(name, SMALL)
        targets = {"arrow": least, "numpy": least} if local else {}
        rows.append(Row(scenario, name, samples, ratios, targets, compare_tails=False))
    return rows


def cpu(stage: Stage, passes: int, seconds: float) -> list[Row]:
    """What the processes spend while nothing is sent is taken off: of both libraries alike."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(min(passes, 2)):
        for name, hz in STEADY.items():
            for way in (
                PEER,
                "arrow",
                "numpy",
                *(("in place",) if name == "4 MB" else ()),
                FLOOR,
            ):
                pids = stage.processes(way)
                idle = _load(pids, seconds / 2)
                before, begin = _spent(pids), time.monotonic()
                count = stage.ask("steady", size=SIZES[name], way=way, hz=hz, seconds=seconds)
                spent = _spent(pids) - before - idle * (time.monotonic() - begin)
                found.setdefault(name, {}).setdefault(way, []).append(spent / count)
    return [
        Row(
            f"{STEADY[name]:.0f} per second",
            name,
            {way: Sample(statistics.median(it), max(it), len(it)) for way, it in ways.items()},
            {
                way: statistics.median(a / b for a, b in zip(ways[PEER], it, strict=True))
                for way, it in ways.items()
                if way != PEER
            },
            CPU.get(name, {}),
            compare_tails=False,
        )
        for name, ways in found.items()
    ]


def _rate(reader: dict[str, Any]) -> float:
    """Messages per second; NaN if there were not enough to tell."""
    if reader["count"] < 2 or reader["span"] <= 0:
        return math.nan
    return float((reader["count"] - 1) / reader["span"] * 1e9)


def _spent(pids: Sequence[int]) -> int:
    """CPU time of processes in nanoseconds, all of their threads, also those that ended."""
    # The clock's number is as clock_getcpuclockid makes it.
    return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in pids)


def _load(pids: Sequence[int], seconds: float) -> float:
    """CPU nanoseconds per second while nothing is sent."""
    before, begin = _spent(pids), time.monotonic()
    time.sleep(seconds)
    return (_spent(pids) - before) / (time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
