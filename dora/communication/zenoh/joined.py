"""Whether the output of a node with replicas has ended: when all of them have. Node (>= 3.10)."""

from __future__ import annotations

import threading
from typing import Any

import zenoh

from dora.communication.presence import watch_nodes
from dora.communication.zenoh.session import hold, release


class Closings:
    """Which replicas of `node` are there, and which of them have said that they have ended."""

    def __init__(self, session: zenoh.Session, dataflow: str, node: str) -> None:
        self._node = node
        self._there: dict[int, set[str]] = {}  # replica -> its processes
        self._ended: set[int] = set()
        self._lock = threading.Lock()
        self._watch: Any = hold(watch_nodes(session, dataflow, self._on_change))
        self._open = True

    def __repr__(self) -> str:
        return f"<Closings of {self._node}: there {sorted(self._there)}, {sorted(self._ended)}>"

    def closed(self, replica: int) -> bool:
        """A replica has ended: whether all have that are there."""
        with self._lock:
            self._ended.add(replica)
            there = {it for it, processes in self._there.items() if processes}
            return there <= self._ended

    def close(self) -> None:
        """May be called twice."""
        if self._open:
            self._open = False
            release(self._watch)

    def undeclare(self) -> None:
        """After `close`, where the session goes on."""
        self._watch.undeclare()

    def _on_change(self, node: str, process: str, _: int, there: bool) -> None:
        base, index = node.rsplit(".", 1) if "." in node else (node, "")
        if base != self._node or not index.isdigit():
            return
        with self._lock:
            processes = self._there.setdefault(int(index), set())
            if there and process not in processes:
                self._ended.discard(int(index))
            (processes.add if there else processes.discard)(process)
