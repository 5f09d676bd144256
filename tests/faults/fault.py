"""What every row of the fault table measures and judges, from calm to calm."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.faults.bench import Bench, is_link
from tests.faults.findings import Finding
from tests.faults.project import SILENCE
from tests.faults.tapes import Edge, Said


class Fault:
    """From calm to calm: what was there before, and what is to be so afterwards."""

    def __init__(self, bench: Bench, finding: Finding) -> None:
        self.bench = bench
        self.finding = finding
        self.pids = bench.pids()
        self.calm = bench.calm()
        self.at = time.monotonic()

    def detected(self, who: str, at: float) -> None:
        self.finding.detected[who] = max(0.0, at - self.at)

    def normal(self, since: float, edges: Collection[Edge] = ()) -> None:
        """Waits until messages that were sent since then have come on all edges (of `edges`)."""
        self.finding.normal = max(self.bench.flowing(edges, since).values()) - since

    def keeps(self, *changed: str) -> None:
        """Every process but these is the same."""
        now = self.bench.pids()
        same = {unit: pid for unit, pid in self.pids.items() if unit not in changed}
        found = {unit: now.get(unit) for unit in same}
        assert same == found
        kept = f"all {len(same)} processes" if not changed else f"{len(same)} other processes"
        self.finding.meanwhile = self.finding.meanwhile or f"{kept} of nodes and routers"

    def judge(self, whole: Collection[Edge], end: float | None = None) -> None:
        """Nothing that was sent on these edges is lost, twice or out of order."""
        now = time.monotonic() if end is None else end
        self.bench.flowing([*whole] if end else (), now)
        tapes = self.bench.tapes
        rest = [it for it in self.bench.edges if it not in whole]
        self.finding.promised = tapes.count(whole, self.calm, now)
        self.finding.unpromised = tapes.count(rest, self.calm, now)
        lost = {str(it): tapes.lost(it, self.calm, now) for it in whole}
        _nothing("lost", lost, self.at)
        disorder = {str(it): tapes.disordered(it, self.calm) for it in self.bench.edges}
        _nothing("twice or out of order", disorder, self.at)

    def silences(self, edges: Collection[Edge]) -> None:
        """Their `input_timeout` closed these inputs, and their next message opened them again;
        nothing else was told. (So it is, and rightly, with an input to which nothing came for as
        long because the machine of the bench was busy.)"""
        wanted = {(it.reader, it.input) for it in edges}
        closed, recovered = (self._told(kind) for kind in ("INPUT_CLOSED", "INPUT_RECOVERED"))
        assert wanted == closed.keys() - (self._silent() - wanted)
        assert closed.keys() == recovered.keys()
        if wanted:
            self.detected("nodes", min(closed.values()))
            self.finding.events = "INPUT_CLOSED, then INPUT_RECOVERED, where input_timeout is set"
        self.nothing_else({"INPUT_CLOSED", "INPUT_RECOVERED"})

    def perhaps_silences(self, edges: Collection[Edge]) -> None:
        """As `silences`, of some of these edges or none."""
        closed, recovered = (self._told(kind) for kind in ("INPUT_CLOSED", "INPUT_RECOVERED"))
        assert set(closed) == set(recovered)
        assert closed.keys() - self._silent() <= {(it.reader, it.input) for it in edges}
        self.nothing_else({"INPUT_CLOSED", "INPUT_RECOVERED"})
        if closed:
            self.finding.events = f"{len(closed)} inputs closed and recovered"

    def nothing_else(self, types: Collection[str] = ()) -> None:
        self.bench.tapes.read()
        told = [it for it in self.bench.tapes.events if it.at >= self.calm]
        assert [] == [it for it in told if it.type not in types]
        self.finding.events = self.finding.events or "none"

    def _silent(self) -> set[tuple[str, str]]:
        """The inputs with an `input_timeout` to which nothing came for so long."""
        self.bench.tapes.read()
        now = time.monotonic()
        return {
            (it.reader, it.input)
            for it in self.bench.edges
            if it.kind == "drop" and self.bench.tapes.pause([it], self.calm, now) > SILENCE - 0.2
        }

    def _told(self, kind: str) -> dict[tuple[str, str | None], float]:
        self.bench.tapes.read()
        return {
            (it.node, it.id): it.at
            for it in self.bench.tapes.events
            if it.type == kind and it.at >= self.calm
        }

    def links_stay(self) -> None:
        assert [] == self.bench.watch.said(is_link, self.calm)


def _nothing(what: str, found: Mapping[str, Sequence[Said]], at: float) -> None:
    """Numbers and times (since `at`) are told of what there is all the same."""
    words = [
        f"{edge}: {len(them)}, numbers {them[0].n} to {them[-1].n}, "
        f"at {them[0].at - at:.2f} to {them[-1].at - at:.2f} s"
        for edge, them in found.items()
        if them
    ]
    assert not words, f"{what}: {'; '.join(words)}"


@contextmanager
def finally_(undo: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        undo()


def lossless(bench: Bench, robot: int) -> list[Edge]:
    """What a robot's link may not cost, whatever befalls it: all but its `drop` edges."""
    return [it for it in bench.edges if not it.touches(robot) or it.kind != "drop"]


def sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def unknown(status: Mapping[str, object], robot: str) -> None:
    """`status` knows that it does not know, since when, and what to do."""
    machines = status["machines"]
    assert isinstance(machines, Mapping)
    found = machines[robot]
    assert "unknown" == found["link"]
    assert found["since"]
    assert found["error"]
    assert found["hint"]
