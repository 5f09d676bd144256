"""What moving nodes would bring: traffic over the network, now and after. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dora.dataflow.model import Dataflow
from dora.placement.groups import Situation, groups_of, problem_of
from dora.placement.problem import Cost, cost
from dora.placement.traffic import Flow, crossing
from dora.placement.wishes import wishes_of

SHARE = 0.05  # of the traffic: what has to be saved
LEAST = 10_000.0  # bytes a second: what has to be saved in any case
CORES = 0.25  # or so much less on crowded machines


@dataclass(frozen=True)
class Edge:
    """An output that goes, or would go, over the network: to which machines, now and after."""

    flow: Flow
    now: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def bytes_now(self) -> float:
        return self.flow.bytes_per_second * len(self.now)

    @property
    def bytes_after(self) -> float:
        return self.flow.bytes_per_second * len(self.after)


@dataclass(frozen=True)
class Move:
    node: str
    source: str
    target: str


@dataclass(frozen=True)
class Gain:
    """`now` and `after` weigh traffic by the speed of links; `edges` are plain bytes a second."""

    edges: tuple[Edge, ...]
    moves: tuple[Move, ...]
    now: Cost
    after: Cost

    @property
    def bytes_now(self) -> float:
        return sum(edge.bytes_now for edge in self.edges)

    @property
    def bytes_after(self) -> float:
        return sum(edge.bytes_after for edge in self.edges)

    @property
    def real(self) -> bool:
        """Whether it is worth restarting what moves."""
        if not self.moves:
            return False
        less_crowded = self.now.crowding - self.after.crowding
        if less_crowded >= CORES:
            return True
        saved = self.now.traffic - self.after.traffic
        return less_crowded > -CORES and saved >= max(LEAST, SHARE * self.now.traffic)


def gain_of(
    dataflow: Dataflow, situation: Situation, now: Mapping[str, str], after: Mapping[str, str]
) -> Gain:
    """Of two placements (part -> machine) of all nodes."""
    wishes = wishes_of(dataflow, situation.platforms, situation.packed)
    groups = groups_of(situation, wishes)
    problem = problem_of(situation, groups, keep=False)
    edges = []
    for flow in situation.flows:
        both = crossing(flow, now), crossing(flow, after)
        if any(both):
            edges.append(Edge(flow, *both))
    return Gain(
        tuple(edges),
        tuple(Move(it, now[it], after[it]) for it in situation.nodes if now[it] != after[it]),
        cost(problem, situation.at(groups, now)),
        cost(problem, situation.at(groups, after)),
    )
