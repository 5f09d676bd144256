"""Operators of one runtime, beside dora-rs's: `python -m benchmarks.operators`.

Memory and start of 10,000 operators; messages per second through a chain of ten; what scheduling
costs a call; deadlines met by EDF and by FIFO. dora-rs 1.1.0 hosts one operator a process. Prints
tables; says for every target whether it was met in this run.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.figures import PEER, duration, rate
from benchmarks.operating.calls import bare, middle, scheduled, timed
from benchmarks.operating.flows import ROBOT, TICK, demand, our_chain, peer_chain, periodic
from benchmarks.operating.running import Run, running
from benchmarks.peer import Peer, install

ROOT = Path(__file__).resolve().parent.parent
MANY, CHAIN = 10_000, 10
# Bytes; messages under way at once. dora-rs passes more of the large ones when there are few.
SIZES = {"8 B": (8, 200, 200), "1 MB": (1_000_000, 200, 20)}
OURS = [sys.executable, "-m", "dora.cli", "run"]
HOSTS = {"ours": ["dora.runtime"], PEER: ["start_runtime"]}  # what names a process of operators


class Served(NamedTuple):
    rss: int  # bytes
    pss: int
    each: float
    start: float  # s


NOTHING = Served(0, 0, 0.0, 0.0)

# What is asked for.
KILOBYTES_EACH, TIMES_AS_MANY, START = 10.0, 100.0, 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operators", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter: below two minutes")
    parser.add_argument("--only", choices=["chain", "many", "calls", "deadlines"])
    chosen = parser.parse_args(arguments)
    # A benchmark that is told to end still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 160)
    seconds = 4.0 if chosen.quick else 10.0
    parts = {
        "calls": lambda: calls(console),
        "deadlines": lambda: deadlines(console, seconds),
        "chain": lambda: chain(console, install(), seconds),
        "many": lambda: many(console, install()),
    }
    try:
        for name, part in parts.items():
            if chosen.only in (None, name):
                part()
    except RuntimeError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


def chain(console: Console, peer: Peer, seconds: float) -> None:
    """CPU time is of all processes: it tells the two apart whatever else the machine does, while
    on a busy one a rate depends on how many processes compete for it."""
    columns = "ours", PEER, "times", "ours, CPU each", f"{PEER}, CPU each", "times"
    table = _table(f"a chain of {CHAIN} operators, messages per second", *columns)
    for name, (size, window, peer_window) in SIZES.items():
        told = {"BENCH_SIZE": str(size), "BENCH_WINDOW": str(window)}
        with _ours(CHAIN, told) as run:
            ours = run.rate(seconds)
        with _theirs(peer, CHAIN, {**told, "BENCH_WINDOW": str(peer_window)}) as run:
            theirs = run.rate(seconds)
        table.add_row(
            name,
            rate(ours.per_second),
            rate(theirs.per_second),
            _verdict(ours.per_second / theirs.per_second, TIMES_AS_MANY),
            duration(ours.cpu * 1e9),
            duration(theirs.cpu * 1e9),
            f"{theirs.cpu / ours.cpu:.0f}",
        )
    console.print(table)
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def many(console: Console, peer: Peer) -> None:
    """A chain, too: what comes out at its end has been served by each."""
    told = {"BENCH_SIZE": "8", "BENCH_WINDOW": "2"}
    columns = "operators", "resident", "each", "proportional each", "runtime start", "in all"
    table = _table("memory of operators, and the time until all were served", *columns)
    with _ours(CHAIN, told, 200) as run:
        few = _served(table, run, "ours", CHAIN + 2)
    with _ours(MANY - 2, told, 200) as run:
        each, start = _served(table, run, "ours, beyond those", MANY, few, CHAIN + 2)[2:]
    with _theirs(peer, CHAIN, told, 200) as run:
        _served(table, run, PEER, CHAIN + 2)
    console.print(table)
    console.print(
        f"KB each: {each / 1e3:.1f} ({KILOBYTES_EACH:g}) {_met(each / 1e3 < KILOBYTES_EACH)}; "
        f"start of {MANY}: {start:.1f} s ({START:g}) {_met(start < START)}"
    )


def calls(console: Console) -> None:
    count = 100_000
    floor = middle(bare, count)
    clocked = middle(timed, count)
    table = _table("a call", "time", "beside the bare call", "beside the bare call with a clock")
    table.add_row("deque and function", duration(floor * 1e9), "1.0", "")
    table.add_row("the same, and a clock", duration(clocked * 1e9), f"{clocked / floor:.1f}", "1.0")
    for policy in ("fifo", "priority", "edf"):
        for operators in (CHAIN, MANY):
            took = middle(scheduled, policy, operators, count)
            row = f"{policy}, {operators} operators", duration(took * 1e9)
            table.add_row(*row, f"{took / floor:.1f}", f"{took / clocked:.1f}")
    console.print(table)


def deadlines(console: Console, seconds: float) -> None:
    title = f"deadlines missed, {demand(ROBOT):.0%} of one core asked for"
    table = _table(title, "calls", "missed", "of the control loop")
    for scheduler in ("fifo", "edf"):
        with _run(lambda notes, it=scheduler: periodic(it, ROBOT, notes)) as run:
            run.wait_for(run.notes.exists, "a first call")
            time.sleep(seconds)
            lines = [line.split() for line in run.notes.read_text().splitlines()]
        last = {name: (int(count), int(late)) for name, count, late in lines}
        count, late = (sum(it[n] for it in last.values()) for n in (0, 1))
        table.add_row(scheduler, str(count), str(late), f"{last['control'][1]}")
    console.print(table)


def _ours(length: int, told: dict[str, str], tick: int = TICK) -> Any:
    return _run(lambda notes: our_chain(length, tick, BENCH_NOTES=str(notes), **told))


def _run(flow: Callable[[Path], Any]) -> Any:
    return running(OURS, flow, PYTHONPATH=str(ROOT))


def _theirs(peer: Peer, length: int, told: dict[str, str], tick: int = TICK) -> Any:
    command = [str(peer.cli), "run", "--log-level", "warn"]
    return running(command, lambda notes: peer_chain(length, tick, BENCH_NOTES=str(notes), **told))


def _served(
    table: Table, run: Run, name: str, count: int, before: Served = NOTHING, less: int = 0
) -> Served:
    """Adds a row: of `count` operators, but for memory only of those beyond `before`."""
    marks = HOSTS[PEER if name == PEER else "ours"]
    in_all, start = run.served(marks)
    time.sleep(2.0)  # more messages come
    memory = run.memory(marks)
    each = (memory.rss - before.rss) / (count - less)
    shared = (memory.pss - before.pss) / (count - less)
    sizes = f"{memory.rss / 1e6:.0f} MB", f"{each / 1e3:.1f} KB", f"{shared / 1e3:.1f} KB"
    table.add_row(name, str(count), *sizes, f"{start:.1f} s", f"{in_all:.1f} s")
    return Served(memory.rss, memory.pss, each, start)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _verdict(times: float, least: float) -> str:
    return f"{times:.0f} ({least:g}) {_met(times >= least)}"


def _met(met: bool) -> str:
    return "[green]met[/]" if met else "[red]not met[/]"


if __name__ == "__main__":
    sys.exit(main())
