"""Decides what a machine's router says about those of its nodes that are gone. Pure.

A node that ends well closes its outputs itself. Some cannot (SIGKILL, a crash in C), and what a
node says last may be lost on a cut link or come before a reader has started. So the router repeats
it for as long as the node stays away. That a node comes back it says once, and at once: even if it
is back already. Nodes whose link is merely cut are not taken for dead: only nodes of this machine
are judged, and by their process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dora.communication.base import Kind
from dora.communication.header import WITHOUT_A_WORD
from dora.communication.presence import Left
from dora.protocol.comeback import ALWAYS, NEVER, comes_back
from dora.protocol.dataflow import DataflowSummary

GRACE = 1.0  # s for a new process of the node (restarted, or redeployed) to appear
REPEAT = 2.0  # s


class Word(NamedTuple):
    """What is to be said on a route, the dataflow's name in front of which is left out."""

    route: str
    kind: Kind
    process: str = ""
    error: str = ""


@dataclass
class _Gone:
    node: str
    process: str
    returns: int | None
    why: Left | None
    error: str
    at: float
    speak_at: float


class Departures:
    """`now` is the monotonic clock in seconds; `is_alive` tells whether a process still runs."""

    def __init__(self, machine: str, is_alive: Callable[[str], bool]) -> None:
        self._machine = machine
        self._is_alive = is_alive
        self._there: dict[str, dict[str, int | None]] = {}  # node -> process -> when it returns
        self._said: dict[str, tuple[str, Left, str]] = {}  # node -> process and its last word
        self._gone: dict[str, _Gone] = {}
        self._deaths: list[_Gone] = []  # not judged yet: whether they come back

    def __repr__(self) -> str:
        there = sorted(node for node, processes in self._there.items() if processes)
        return f"<Departures: there {there}, gone {sorted(self._gone)}>"

    def came(self, node: str, process: str, returns: int | None = None) -> None:
        """`returns` as in `protocol.comeback`; None: as the dataflow has it."""
        self._there.setdefault(node, {})[process] = returns
        self._gone.pop(node, None)
        if self._said.get(node, ("",))[0] == process:
            del self._said[node]  # it had left the router, not its work, and is back
        self._deaths = [it for it in self._deaths if it.process != process]  # only its link was cut

    def left(self, node: str, process: str, why: Left, error: str = "") -> None:
        self._said[node] = (process, why, error)
        for gone in (*self._deaths, *self._gone.values()):
            if (gone.node, gone.process) == (node, process):
                gone.why, gone.error = why, error

    def went(self, node: str, process: str, now: float) -> None:
        processes = self._there.get(node, {})
        returns = processes.pop(process, None)
        said_by, why, error = self._said.get(node, ("", None, ""))
        if said_by != process:
            why, error = None, ""
        gone = _Gone(node, process, returns, why, error, now, now + GRACE)
        self._deaths.append(gone)
        if not processes:
            self._gone[node] = gone

    def forget(self) -> None:
        """A new generation of the dataflow: whoever is gone may be about to come back."""
        self._gone.clear()
        self._deaths.clear()

    def undecided(self, now: float) -> bool:
        """Whether somebody went just now of whom nobody knows yet if it lives: look again soon."""
        return any(now < it.at + GRACE for it in self._deaths)

    def speak(self, now: float, dataflow: DataflowSummary) -> list[Word]:
        """What to say now; of one route in this order."""
        words: list[Word] = []
        open_questions = []
        for gone in self._deaths:
            if not self._is_ours(gone, dataflow) or gone.why in (Left.FINISHED, Left.STOPPED):
                continue
            if gone.why is None and self._is_alive(gone.process):
                open_questions.append(gone)
            elif _returns(gone, dataflow):
                words += _on_all(gone, dataflow, Kind.RESTARTED)
        self._deaths = open_questions
        for gone in self._gone.values():
            if now < gone.speak_at or not self._is_ours(gone, dataflow):
                continue
            if gone.why is Left.FINISHED:
                gone.speak_at = now + REPEAT
                words += _on_all(gone, dataflow, Kind.CLOSED)
            elif self._has_failed(gone, dataflow):
                gone.speak_at = now + REPEAT
                words += _on_all(gone, dataflow, Kind.FAILED, Kind.CLOSED)
        return words

    def _is_ours(self, gone: _Gone, dataflow: DataflowSummary) -> bool:
        summary = dataflow.nodes.get(gone.node)
        return summary is not None and summary.machine == self._machine

    def _has_failed(self, gone: _Gone, dataflow: DataflowSummary) -> bool:
        if gone.why is Left.STOPPED or _returns(gone, dataflow):
            return False
        return gone.why is Left.FAILED or not self._is_alive(gone.process)


def _returns(gone: _Gone, dataflow: DataflowSummary) -> bool:
    returns = gone.returns
    if returns is None:
        returns = NEVER if dataflow.nodes[gone.node].restart == "never" else ALWAYS
    return comes_back(returns, round(gone.at * 1e9))


def _on_all(gone: _Gone, dataflow: DataflowSummary, *kinds: Kind) -> list[Word]:
    error = "" if Kind.FAILED not in kinds else gone.error or WITHOUT_A_WORD
    return [
        Word(f"{gone.node}/{output}", kind, gone.process, error)
        for output in dataflow.nodes[gone.node].outputs
        for kind in kinds
    ]
