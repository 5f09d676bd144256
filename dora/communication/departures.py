"""Decides for which nodes of a machine its router says that their outputs are closed. Pure.

A node that ends well closes its outputs itself. Some cannot (SIGKILL, a crash in C), and what a
node says last may be lost on a cut link or come before a reader has started. So the router repeats
it for as long as the node stays away. Nodes whose link is merely cut are not taken for dead: only
nodes of this machine are judged, and by their process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dora.communication.presence import Left
from dora.protocol.dataflow import DataflowSummary

GRACE = 1.0  # s for a new process of the node (restarted, or redeployed) to appear
REPEAT = 2.0  # s


@dataclass
class _Gone:
    process: str
    why: Left | None
    speak_at: float


class Departures:
    """`now` is any monotonic clock in seconds; `is_alive` tells whether a process still runs."""

    def __init__(self, machine: str, is_alive: Callable[[str], bool]) -> None:
        self._machine = machine
        self._is_alive = is_alive
        self._there: dict[str, set[str]] = {}
        self._why: dict[str, tuple[str, Left]] = {}  # node -> process and what it said last
        self._gone: dict[str, _Gone] = {}

    def __repr__(self) -> str:
        there = sorted(node for node, processes in self._there.items() if processes)
        return f"<Departures: there {there}, gone {sorted(self._gone)}>"

    def came(self, node: str, process: str) -> None:
        self._there.setdefault(node, set()).add(process)
        self._gone.pop(node, None)

    def left(self, node: str, process: str, why: Left) -> None:
        self._why[node] = (process, why)
        gone = self._gone.get(node)
        if gone is not None and gone.process == process:
            gone.why = why

    def went(self, node: str, process: str, now: float) -> None:
        processes = self._there.get(node, set())
        processes.discard(process)
        if processes:
            return
        said_by, why = self._why.get(node, ("", None))
        self._gone[node] = _Gone(process, why if said_by == process else None, now + GRACE)

    def forget(self) -> None:
        """A new generation of the dataflow: whoever is gone may be about to come back."""
        self._gone.clear()

    def speak(self, now: float, dataflow: DataflowSummary) -> list[str]:
        """The routes to close now, without the dataflow's name in front."""
        routes = []
        for node, gone in self._gone.items():
            if now >= gone.speak_at and self._is_over(node, gone, dataflow):
                gone.speak_at = now + REPEAT
                routes += [f"{node}/{output}" for output in dataflow.nodes[node].outputs]
        return routes

    def _is_over(self, node: str, gone: _Gone, dataflow: DataflowSummary) -> bool:
        summary = dataflow.nodes.get(node)
        if summary is None or summary.machine != self._machine:
            return False
        if gone.why is not None:
            return gone.why is Left.FINISHED
        return summary.restart == "never" and not self._is_alive(gone.process)
