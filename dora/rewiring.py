"""Follows the ways that the deployment's documents give a running node. Node (>= 3.10).

`dora rebalance` and failover write others there when a node moves. Nobody has to reach this one: it
looks at the file from time to time, in a thread of its own, for the program may be busy.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from dora.edges import Edges
from dora.errors import DoraError
from dora.protocol import ways
from dora.protocol.config import NodeConfig
from dora.stream import EventStream

logger = logging.getLogger("dora")

EVERY = 0.25  # s between two looks
RETRY = 5.0  # s, after something went wrong
_PARTING = 2.0  # s that the end of a node waits for what is being opened


class WaysFile:
    """The ways of one node on its machine, as they are told now."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._node = config.base or config.node
        folder = config.documents
        self._path = None if folder is None else Path(folder, ways.DOCUMENT)
        self._seen: tuple[int, int] | None = None
        # (node, input) of this machine, as the file told last: what is not read in shared memory
        self.not_shm: frozenset[tuple[str, str]] = frozenset()

    def __repr__(self) -> str:
        return f"<WaysFile {self._path}>"

    @property
    def exists(self) -> bool:
        """Whether there was one, when it was read last."""
        return self._seen is not None

    def read(self) -> NodeConfig | None:
        """The configuration with its ways; None if they are not told, or the same file as before.
        Raises DoraError if the file is there but damaged."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)
            version = found.st_ino, found.st_mtime_ns
            if version == self._seen:
                return None
            text = self._path.read_text()
        except FileNotFoundError:
            return None  # none are told, or the deployment is being taken away
        except OSError as error:
            raise DoraError(f"{self._path}: {error}") from error
        self._seen = version
        try:
            its = ways.from_text(text)
        except ValueError as error:
            raise DoraError(f"{self._path}: {error}") from error
        self.not_shm = frozenset(
            (node, name)
            for node, way in its.items()
            for name, wired in way.inputs.items()
            if wired.layer != "shm"
        )
        told = its.get(self._node)
        # A node that is not in it is about to be stopped: it has moved away itself.
        return None if told is None else told.laid(self._config)


class Rewiring:
    """Works until `end`. `changed` is called, from another thread, with each new configuration.
    `wanted`: what the file says, if it was read already."""

    def __init__(
        self,
        file: WaysFile,
        edges: Edges,
        stream: EventStream,
        changed: Callable[[NodeConfig], None],
        *,
        wanted: NodeConfig | None = None,
        retry: float = RETRY,
    ) -> None:
        self._retry = retry
        self._file = file
        self._edges = edges
        self._stream = stream
        self._changed = changed
        self._wanted = wanted
        self._untidy = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dora-rewiring", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Rewiring by {self._file}{', under way' if self._wanted else ''}>"

    def end(self) -> None:
        """May be called twice."""
        self._end.set()
        if threading.current_thread() is not self._thread:  # as the garbage collector may be
            self._thread.join(_PARTING)

    def _run(self) -> None:
        pause = EVERY
        while not self._end.wait(pause):
            pause = EVERY
            try:
                self._look()
            except Exception as error:  # of layers, too: this thread must not end
                pause = self._retry
                if not self._end.is_set():
                    known = isinstance(error, DoraError | OSError)
                    logger.error(
                        "edges cannot change their way: %s",
                        error,
                        exc_info=None if known else error,
                    )

    def _look(self) -> None:
        found = self._file.read()
        if found is not None:
            self._wanted = found
        if self._wanted is not None:
            self._edges.approach(self._wanted, self._stream.change)
            self._changed(self._edges.config)
            if self._edges.config == self._wanted:
                self._wanted = None
                self._untidy = True
        elif self._untidy and not self._stream.changing:
            self._untidy = False
            self._edges.tidy()
