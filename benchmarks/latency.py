"""How long a message takes, beside dora-rs: `python -m benchmarks.latency [--quick]`.

One process sends through both libraries in turn, so that all see the same machine. Prints a table
and writes a picture. Times begin when the program has its data as a numpy array, and end when the
receiving program has the event (numpy), or the event's Arrow array (Arrow, dora-rs).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.between import BetweenStage, DirectStage
from benchmarks.figures import (
    BARE_FLOOR,
    FLOOR,
    PEER,
    SIZES,
    Row,
    duration,
    latencies,
    middles,
    paired,
)
from benchmarks.network import Network, NetworkError
from benchmarks.peer import install
from benchmarks.report import plot, show
from benchmarks.stage import Stage, StageError

WAYS = (PEER, "arrow", "numpy", "in place", "dora-rs in place", FLOOR, BARE_FLOOR)
LARGE = 4_000_000  # bytes; from here on outputs are also filled in place
PACE = 0.005  # s between messages: what a robot's nodes do, with caches gone cold

# What we aim at, at least: how many times quicker than dora-rs.
ONE_WAY = {
    "4 MB": {"arrow": 7.0, "numpy": 8.0, "in place": 15.0},
    "40 MB": {"arrow": 80.0, "numpy": 85.0, "in place": 400.0},
}
SMALL = {"arrow": 2.0, "numpy": 4.0}
ROUND_TRIP = {"8 B": 10.0, "4 KB": 12.0, "400 KB": 7.0, "4 MB": 40.0}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages: below two minutes")
    parser.add_argument("--plot", type=Path, default=Path("latency.png"), metavar="FILE")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 220)
    passes, seconds = (1, 1.0) if chosen.quick else (3, 2.0)
    try:
        peer = install()
        with Stage(peer) as stage:
            rows = one_way(stage, "one to one", "one", passes, seconds)
            rows += one_way(stage, "one to four", "four", passes, seconds)
            rows += round_trip(stage, passes, seconds)
        with Network() as network, BetweenStage(peer, network) as between:
            rows += one_way(between, "two machines", "one", passes, seconds / 2)
        with Network() as network, DirectStage(peer, network) as between:
            rows += one_way(between, "two machines, direct", "one", passes, seconds / 2)
    except NetworkError as error:
        console.print(f"two machines: not measured: {error}", markup=False)
    except (StageError, RuntimeError) as error:
        console.print(f"[red]{error}[/]", markup=False)
        return 1
    show(console, "latency beside dora-rs", rows, duration, WAYS, "p99")
    plot(chosen.plot, "latency (p50, shaded up to p99)", rows, "microseconds", 1e3, WAYS)
    console.print(f"picture: {chosen.plot}")
    return 0


def one_way(stage: Stage, scenario: str, fan: str, passes: int, seconds: float) -> list[Row]:
    """Each pass goes through all sizes, so that a bad moment of the machine hits none alone."""
    local = stage.layer == "shm"
    found: dict[str, dict[str, list[Any]]] = {}
    for number in range(passes):
        for name, size in SIZES.items():
            ways = [PEER, "arrow", "numpy"]
            ways += ["in place"] if local and size >= LARGE else []
            ways += [FLOOR] if stage.has_floor else []
            ways += [BARE_FLOOR] if stage.has_floor and size >= LARGE else []
            # Apart: two in turn would share dora-rs's small pool, and one of them always gets it.
            for group in (ways, ["dora-rs in place"] if local and size >= LARGE else []):
                job = {"size": size, "fan": fan, "ways": group, "pace": PACE}
                if not group:
                    continue
                if number == 0:  # memory gets its pages, dora-rs its direct path
                    stage.ask("latency", **job, rounds=3, seconds=seconds)
                result = stage.ask("latency", **job, rounds=200, seconds=seconds)
                for way in group:
                    found.setdefault(name, {}).setdefault(way, []).extend(result[way])
    return [
        Row(
            scenario,
            name,
            {way: latencies(rounds) for way, rounds in ways.items()},
            {
                way: paired(ways[PEER], rounds)
                for way, rounds in ways.items()
                if way not in (PEER, "dora-rs in place")
            },
            ONE_WAY.get(name, SMALL) if local else {},
        )
        for name, ways in found.items()
    ]


def round_trip(stage: Stage, passes: int, seconds: float) -> list[Row]:
    """A question and its answer (the question's value, sent back), one after the other."""
    ways = [PEER, "arrow", "numpy", FLOOR]
    found: dict[str, dict[str, list[list[float | None]]]] = {}
    for number in range(passes):
        for name, size in SIZES.items():
            job = {
                "size": size,
                "ways": ways,
                "each": 100 if size < 400_000 else 20 if size < LARGE else 4,
            }
            if number == 0:
                stage.ask("round_trip", **job, bursts=1, seconds=seconds)
            result = stage.ask("round_trip", **job, bursts=20, seconds=seconds / 2)
            for way in ways:
                found.setdefault(name, {}).setdefault(way, []).extend(result[way])
    return [
        Row(
            "round trip",
            name,
            {
                way: latencies([[t] for burst in bursts for t in burst])
                for way, bursts in it.items()
            },
            {way: paired(middles(it[PEER]), middles(it[way])) for way in ("arrow", "numpy", FLOOR)},
            {"numpy": ROUND_TRIP[name]} if name in ROUND_TRIP else {},
        )
        for name, it in found.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
