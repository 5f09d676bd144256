"""How soon a node that crashed is back, beside dora-rs: `python -m benchmarks.recovery`.

`dora run` of both, in turn, with the same two nodes: one sends every 2 ms and is killed with
kill -9 again and again, the other notes when it hears of that, and when the successor's first
message comes. Both run the same Python with the same pyarrow. Prints a table of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.figures import PEER, duration
from benchmarks.operating.running import Run, running
from benchmarks.peer import install

NODES = Path(__file__).resolve().parent / "recovering"
OURS = "ours"
LIVES = 1.5  # s between kills: more than WINDOW, so that nobody begins to wait between restarts
WINDOW = 0.5  # s: `restart_window`


class Recovery(NamedTuple):
    """Nanoseconds since the kill."""

    told: int | None  # until the reader had NODE_RESTARTED
    born: int  # until the successor's program began
    back: int  # until its first message was read


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each (20)")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        found = measure(chosen.kills)
    except RuntimeError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(console, found)
    return 0


def measure(kills: int) -> dict[str, list[Recovery]]:
    """Both run all the while; they are killed in turn. Raises RunError."""
    peer = install()
    commands = {
        OURS: [sys.executable, "-m", "dora.cli", "run"],
        PEER: [str(peer.cli), "run", "--log-level", "error"],
    }
    found: dict[str, list[Recovery]] = {name: [] for name in commands}
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(running(command, flow)) for name, command in commands.items()
        }
        for run in runs.values():
            run.wait_for(lambda: _firsts(run), "a first message")  # noqa: B023
        for _ in range(kills):
            for name, run in runs.items():
                time.sleep(LIVES)
                found[name].append(_kill(run))
    return found


def flow(notes: Path) -> dict[str, Any]:
    """The same for both."""
    restart = {"restart_policy": "always", "restart_window": WINDOW}
    ticker = {
        "id": "ticker",
        "path": str(NODES / "ticker.py"),
        "inputs": {"unread": "dora/timer/secs/3600"},  # without any dora-rs restarts no node
        "outputs": ["tick"],
        **restart,
    }
    witness = {
        "id": "witness",
        "path": str(NODES / "witness.py"),
        "inputs": {"tick": "ticker/tick"},
        "env": {"BENCH_NOTES": str(notes)},
    }
    return {"nodes": [ticker, witness]}


def _kill(run: Run) -> Recovery:
    pid = _firsts(run)[-1]["pid"]
    at = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    first = run.wait_for(
        lambda: next((row for row in _firsts(run) if row["at"] > at and row["pid"] != pid), None),
        "a message of the successor",
    )
    told = [row["at"] for row in _notes(run) if row["type"] == "NODE_RESTARTED" and row["at"] > at]
    return Recovery(told[0] - at if told else None, first["born"] - at, first["at"] - at)


def show(console: Console, found: dict[str, list[Recovery]]) -> None:
    table = Table(title="kill -9 of a node: medians (slowest), since the kill")
    for column in (
        "",
        "reader is told",
        "successor's program begins",
        "its first message",
        "times",
    ):
        table.add_column(column, justify="right" if column else "left")
    middle = {
        name: statistics.median(it.back for it in recoveries) for name, recoveries in found.items()
    }
    for name, recoveries in found.items():
        told = [it.told for it in recoveries if it.told is not None]
        table.add_row(
            name,
            _both(told) if told else "never",
            _both([it.born for it in recoveries]),
            _both([it.back for it in recoveries]),
            f"{middle[PEER] / middle[name]:.2f}",
        )
    console.print(table)
    count = len(found[OURS])
    console.print(f"{count} kills of each, in turn; times: as quick as {PEER}", highlight=False)


def _both(times: Sequence[int]) -> str:
    return f"{duration(statistics.median(times))} ({duration(max(times))})"


def _notes(run: Run) -> list[dict[str, Any]]:
    text = run.notes.read_text() if run.notes.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def _firsts(run: Run) -> list[dict[str, Any]]:
    return [row for row in _notes(run) if row["type"] == "FIRST"]


if __name__ == "__main__":
    sys.exit(main())
