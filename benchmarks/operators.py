"""Operators of one runtime, beside dora-rs's: `python -m benchmarks.operators`.

Memory and start of 10,000 operators; messages per second through a chain of ten; what scheduling
costs a call; deadlines met by EDF and by FIFO. dora-rs 1.1.0 hosts one operator a process. Prints
tables; says for every target whether it was met in this run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import PEER, duration, rate
from benchmarks.operating.calls import bare, middle, scheduled, timed
from benchmarks.operating.flows import ROBOT, demand, our_chain, peer_chain, periodic
from benchmarks.operating.running import Memory, RunError, running
from benchmarks.peer import Peer, install

MANY, CHAIN = 10_000, 10
SIZES = {"8 B": (8, 200), "1 MB": (1_000_000, 20)}  # bytes, messages under way at once
OURS = [sys.executable, "-m", "dora.cli", "run"]
HOSTS = {"ours": ["dora.runtime"], PEER: ["start_runtime"]}  # what names a process of operators

# What is asked for.
KILOBYTES_EACH, TIMES_AS_MANY, START = 10.0, 100.0, 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operators", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter: below two minutes")
    parser.add_argument("--only", choices=["chain", "many", "calls", "deadlines"])
    chosen = parser.parse_args(arguments)
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
    table = _table(f"a chain of {CHAIN} operators, messages per second", "ours", PEER, "times")
    for name, (size, window) in SIZES.items():
        told = {"BENCH_SIZE": str(size), "BENCH_WINDOW": str(window)}
        with _ours(CHAIN, told) as run:
            ours = run.rate(seconds)
        with _theirs(peer, CHAIN, told) as run:
            theirs = run.rate(seconds)
        times = ours / theirs
        table.add_row(name, rate(ours), rate(theirs), _verdict(times, TIMES_AS_MANY))
    console.print(table)


def many(console: Console, peer: Peer) -> None:
    """A chain, too: what comes out at its end has been served by each."""
    told = {"BENCH_SIZE": "8", "BENCH_WINDOW": "2"}
    title = "memory of operators"
    table = _table(title, "operators", "all served after", "resident", "each", "proportional each")
    with _ours(CHAIN, told) as run:
        few, after = _served(run, "ours")
        _sizes(table, "ours", CHAIN + 2, after, few, Memory(1, 0, 0))
    with _ours(MANY - 2, told) as run:
        lots, after = _served(run, "ours")
        each = (lots.rss - few.rss) / (MANY - CHAIN - 2)
        _sizes(table, "ours, beyond the one before", MANY, after, lots, few, CHAIN + 2)
        start = after
    with _theirs(peer, CHAIN, told) as run:
        theirs, after = _served(run, PEER)
        _sizes(table, PEER, theirs.processes, after, theirs, Memory(0, 0, 0))
    console.print(table)
    console.print(
        f"KB each: {each / 1e3:.1f} {_met(each / 1e3 < KILOBYTES_EACH)}; "
        f"start of {MANY}: {start:.1f} s {_met(start < START)}"
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
        with running(OURS, lambda notes, it=scheduler: periodic(it, ROBOT, notes)) as run:
            run.wait_for(run.notes.exists, "a first call")
            time.sleep(seconds)
            lines = [line.split() for line in run.notes.read_text().splitlines()]
        last = {name: (int(count), int(late)) for name, count, late in lines}
        count, late = (sum(it[n] for it in last.values()) for n in (0, 1))
        table.add_row(scheduler, str(count), str(late), f"{last['control'][1]}")
    console.print(table)


def _ours(length: int, told: dict[str, str]) -> Any:
    return running(OURS, lambda notes: our_chain(length, BENCH_NOTES=str(notes), **told))


def _theirs(peer: Peer, length: int, told: dict[str, str]) -> Any:
    command = [str(peer.cli), "run", "--log-level", "warn"]
    return running(command, lambda notes: peer_chain(length, BENCH_NOTES=str(notes), **told))


def _served(run: Any, whose: str) -> tuple[Memory, float]:
    run.wait_for(lambda: run.counts() and run.counts()[-1][1], "a message at the chain's end")
    after = time.monotonic() - run.began
    time.sleep(2.0)  # more of them come
    memory = run.memory(HOSTS[whose])
    if not memory.processes:
        raise RunError(f"no process of {whose} has one of {HOSTS[whose]} in its command line")
    return memory, after


def _sizes(
    table: Table, name: str, count: int, after: float, now: Memory, before: Memory, less: int = 0
) -> None:
    rss, pss = ((new - old) / (count - less) for new, old in _pairs(now, before))
    row = name, str(count), f"{after:.1f} s", f"{now.rss / 1e6:.0f} MB"
    table.add_row(*row, f"{rss / 1e3:.1f} KB", f"{pss / 1e3:.1f} KB")


def _pairs(now: Memory, before: Memory) -> tuple[tuple[int, int], tuple[int, int]]:
    return (now.rss, before.rss), (now.pss, before.pss)


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
