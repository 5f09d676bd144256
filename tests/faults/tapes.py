"""What the nodes of the fault table wrote, and what follows from it: what was lost on which edge,
when it flowed again, what events came. Seconds are those of the monotonic clock."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("drop", "reliable", "direct")  # direct ones are reliable, too


class Edge(NamedTuple):
    """From the talking node of robot `talker` to the hearing one of robot `hearer`."""

    talker: int
    hearer: int
    kind: str  # of KINDS

    @property
    def input(self) -> str:
        return f"{self.kind}-{self.talker}"

    @property
    def reader(self) -> str:
        return f"hear-{self.hearer}"

    @property
    def within(self) -> bool:
        """One machine."""
        return self.talker == self.hearer

    def touches(self, robot: int) -> bool:
        """Goes over the network, and begins or ends there."""
        return not self.within and robot in (self.talker, self.hearer)

    def __str__(self) -> str:
        return f"{self.kind} {self.talker}->{self.hearer}"


class Said(NamedTuple):
    """A message: when it was sent, by which process of the node, and its number."""

    at: float
    run: int
    n: int


class Happened(NamedTuple):
    """An event other than a message; `node` heard it."""

    at: float
    node: str
    type: str
    id: str | None


@dataclass(frozen=True)
class Count:
    """Of some edges, over a time."""

    sent: int
    lost: int
    edges: int

    def __str__(self) -> str:
        return f"{self.sent - self.lost} of {self.sent}"


class Tape:
    """One file that grows; what was read is not read again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._offset = 0

    def more(self) -> list[list[Any]]:
        if not self.file.exists():
            return []
        with self.file.open("rb") as lines:
            lines.seek(self._offset)
            text = lines.read()
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        return [json.loads(line) for line in text[:whole].splitlines()]


class Tapes:
    """All of them. `folders` are those of the tapes, by robot."""

    def __init__(self, folders: Mapping[int, Path]) -> None:
        self.edges = [
            Edge(talker, hearer, kind) for talker in folders for hearer in folders for kind in KINDS
        ]
        self.said: dict[int, list[Said]] = {i: [] for i in folders}
        self.heard: dict[Edge, list[Said]] = {edge: [] for edge in self.edges}  # `at`: came
        self.events: list[Happened] = []
        self._by_input = {(edge.hearer, edge.input): edge for edge in self.edges}
        self._talk = {i: Tape(folder / f"talk-{i}") for i, folder in folders.items()}
        self._hear = {i: Tape(folder / f"hear-{i}") for i, folder in folders.items()}

    def read(self) -> None:
        """Takes in what was written since. What was heard is read first: what came was sent."""
        for i, tape in self._hear.items():
            for at, kind, name, *message in tape.more():
                if kind == "INPUT":
                    self.heard[self._by_input[i, name]].append(Said(at, *message))
                else:
                    self.events.append(Happened(at, f"hear-{i}", kind, name))
        for i, tape in self._talk.items():
            self.said[i] += [Said(*row) for row in tape.more()]

    def sent(self, talker: int, begin: float, end: float) -> list[Said]:
        return [it for it in _since(self.said[talker], begin) if it.at < end]

    def lost(self, edge: Edge, begin: float, end: float) -> list[Said]:
        """What was sent between `begin` and `end` and has not come."""
        came = {it[1:] for it in _since(self.heard[edge], begin)}
        return [it for it in self.sent(edge.talker, begin, end) if it[1:] not in came]

    def count(self, edges: Iterable[Edge], begin: float, end: float) -> Count:
        edges = list(edges)
        sent = sum(len(self.sent(edge.talker, begin, end)) for edge in edges)
        lost = sum(len(self.lost(edge, begin, end)) for edge in edges)
        return Count(sent, lost, len(edges))

    def disordered(self, edge: Edge, begin: float) -> list[Said]:
        """What came later than what was sent after it, within one process of the reader and one
        of the sender; what came twice counts, too."""
        starts = [it.at for it in self.told("START", None, begin) if it.node == edge.reader]
        found: list[Said] = []
        newest: dict[int, int] = {}
        before = begin
        for it in _since(self.heard[edge], begin):
            if any(before < start <= it.at for start in starts):
                newest = {}  # another process, which may get again what the last one had
            before = it.at
            if it.n <= newest.get(it.run, -1):
                found.append(it)
            newest[it.run] = max(it.n, newest.get(it.run, -1))
        return found

    def arrival(self, edge: Edge, after: float) -> float | None:
        """When the first message came that was sent `after`; all before it have come, or will
        not."""
        sent = {it[1:] for it in _since(self.said[edge.talker], after)}
        came = (it.at for it in _since(self.heard[edge], after) if it[1:] in sent)
        return next(came, None)

    def pause(self, edges: Iterable[Edge], begin: float, end: float) -> float:
        """The longest time between two messages of one edge."""
        longest = 0.0
        for edge in edges:
            came = [begin, *(it.at for it in _since(self.heard[edge], begin) if it.at < end), end]
            longest = max(longest, *(b - a for a, b in itertools.pairwise(came)))
        return longest

    def told(self, type: str, id: str | None, since: float) -> list[Happened]:
        return [it for it in self.events if (it.type, it.id) == (type, id) and it.at >= since]


def _since(said: list[Said], begin: float) -> list[Said]:
    """They are in the order of their times."""
    return said[bisect.bisect_left(said, begin, key=lambda it: it.at) :]
