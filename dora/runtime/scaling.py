"""How many replicas operators are to have: read from the deployment's documents. Node (>= 3.10).

`dora scale` writes another number there. The runtime looks at the file from time to time: nobody
has to reach it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path

from dora.errors import DoraError
from dora.participation import read_summary
from dora.protocol.config import NodeConfig
from dora.protocol.dataflow import DOCUMENT

logger = logging.getLogger("dora")

EVERY = 0.5  # s between two looks


def replica_counts(node: NodeConfig) -> dict[str, int]:
    """Operator -> how many replicas it is to have. Raises DoraError for a damaged document."""
    summary = read_summary(node)
    found = summary.nodes.get(node.node) if summary else None
    return dict(found.operators) if found else {}


class Scaling:
    """`scale` is called with the numbers when the document is another one."""

    def __init__(self, node: NodeConfig, scale: Callable[[Mapping[str, int]], None]) -> None:
        self._node = node
        self._scale = scale
        self._path = None if node.documents is None else Path(node.documents, DOCUMENT)
        self._seen: tuple[int, int] | None = None
        self._next = 0.0 if self._path else inf

    def __repr__(self) -> str:
        return f"<Scaling by {self._path}>"

    def deadline(self) -> float:
        """When to `look` again, in the seconds that it is called with; inf without documents."""
        return self._next

    def look(self, now: float) -> None:
        self._next = now + EVERY
        version = self._version()
        if version is None or version == self._seen:
            return
        self._seen = version
        try:
            counts = replica_counts(self._node)
        except DoraError as error:
            logger.error("%s; operators keep the replicas that they have", error)
        else:
            self._scale(counts)

    def _version(self) -> tuple[int, int] | None:
        """None while it is not there, as between two generations."""
        assert self._path is not None
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
