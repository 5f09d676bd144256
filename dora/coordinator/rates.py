"""From counts at two moments to rates: what `dora top` shows. Pure; laptop only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dora.coordinator.pace import per_second
from dora.coordinator.status import NodeStatus
from dora.protocol.traffic import OperatorTraffic, Traffic

# s; nodes say about once a second how much went through them, so that over less the rates jump
WINDOW = 8.0


@dataclass(frozen=True)
class Look:
    """What all machines told at a moment (monotonic seconds)."""

    time: float
    nodes: tuple[NodeStatus, ...]


@dataclass(frozen=True)
class Row:
    """A process, or an operator in one. Rates are per second; None where nobody has said enough."""

    deployment: str
    machine: str
    node: str
    operator: str | None
    state: str
    cpu: float | None = None  # a share of one core
    rss: int | None = None  # bytes
    received: float | None = None
    sent: float | None = None
    dropped: int | None = None  # since the process started
    drops: float | None = None  # a second
    restarts: int = 0
    depth: int | None = None  # messages that wait, of an operator
    misses: int | None = None  # deadlines, since the process started
    lateness: float | None = None  # s, the worst
    busy: float | None = None  # share of the time that an operator was being called
    longest: float | None = None  # s, its longest call


class History:
    """The looks of the last seconds, oldest first."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._looks: deque[Look] = deque()

    def __repr__(self) -> str:
        return f"<History of {len(self._looks)} looks>"

    def add(self, look: Look) -> None:
        self._looks.append(look)
        while len(self._looks) > 2 and look.time - self._looks[1].time >= self._window:
            self._looks.popleft()

    def rows(self, *, operators: bool = False) -> list[Row]:
        """Of the newest look, with rates since the oldest look of the same process."""
        newest = self._looks[-1]
        found: list[Row] = []
        for node in newest.nodes:
            seconds, before = self._since(node)
            found.append(_row(node, seconds, before))
            if operators and node.traffic is not None:
                found += _operators(node, seconds, before)
        return found

    def _since(self, node: NodeStatus) -> tuple[float, Traffic | None]:
        """How long ago the same process had counted how much."""
        newest = self._looks[-1]
        for look in self._looks:
            if look is newest:
                break
            for it in look.nodes:
                same = (it.deployment, it.machine, it.node, it.pid) == (
                    node.deployment,
                    node.machine,
                    node.node,
                    node.pid,
                )
                if same and it.traffic is not None:
                    return newest.time - look.time, it.traffic
        return 0.0, None


def _row(node: NodeStatus, seconds: float, before: Traffic | None) -> Row:
    now = node.traffic
    return Row(
        node.deployment,
        node.machine,
        node.node,
        None,
        node.state,
        cpu=node.cpu,
        rss=node.rss,
        received=per_second(before, now, "received", seconds),
        sent=per_second(before, now, "sent", seconds),
        dropped=now.dropped if now else None,
        drops=per_second(before, now, "dropped", seconds),
        restarts=node.restarts,
        misses=sum(it.misses for it in now.operators.values()) if now and now.operators else None,
    )


def _operators(node: NodeStatus, seconds: float, before: Traffic | None) -> Iterator[Row]:
    assert node.traffic is not None
    for name, now in node.traffic.operators.items():
        past: OperatorTraffic | None = before.operators.get(name) if before else None
        busy = per_second(past, now, "run_time", seconds)
        yield Row(
            node.deployment,
            node.machine,
            node.node,
            name,
            now.state,
            received=per_second(past, now, "received", seconds),
            dropped=now.dropped,
            drops=per_second(past, now, "dropped", seconds),
            restarts=now.restarts,
            depth=now.depth,
            misses=now.misses,
            lateness=now.lateness_max / 1e6,
            busy=None if busy is None else busy / 1e6,
            longest=now.run_max / 1e6,
        )
