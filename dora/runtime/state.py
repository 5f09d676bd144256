"""What operators keep: their own state, and what they share. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dora.kvs import Kvs
from dora.log import write_line
from dora.storage import StateError, Storage

FILE = ".operators/{node}.sqlite"  # in the deployment's folder of state
LIMIT = 64 << 20  # bytes of one operator's keys and values


class OperatorStates:
    """Of one runtime node. `state`: the deployment's folder of state; None where there is none:
    then whoever wants to keep something gets a StateError."""

    def __init__(self, node: str, state: str | None) -> None:
        self._node = node
        self._kvs = Kvs(state)
        path = None if state is None else Path(state, FILE.format(node=node))
        self._path = path
        self._storage = None if path is None else Storage(path, LIMIT)

    def __repr__(self) -> str:
        return f"<OperatorStates of {self._node}: {self._storage!r}>"

    def context(self, operator: str) -> OperatorContext:
        return OperatorContext(self, operator)

    def saved(self, operator: str) -> Mapping[str, bytes]:
        """Empty if it never kept anything. Raises StateError for a damaged file."""
        if self._storage is None or self._path is None or not self._path.exists():
            return {}  # without an operator that keeps something no file is made
        return self._storage.all(operator)

    def save(self, operator: str, key: str, value: bytes) -> None:
        if self._storage is None:
            raise StateError(f"operator {operator}: this node has no folder to keep state in")
        self._storage.put(operator, key, value)

    @property
    def kvs(self) -> Kvs:
        return self._kvs

    def log(self, operator: str, level: str, message: str) -> None:
        write_line(self._node, level, message, operator, None)

    def close(self) -> None:
        """May be called twice."""
        self._kvs.close()
        if self._storage is not None:
            self._storage.close()


class OperatorContext:
    """See `dora.runtime.base.Context`."""

    __slots__ = ("_operator", "_states")

    def __init__(self, states: OperatorStates, operator: str) -> None:
        self._states = states
        self._operator = operator

    def save_state(self, key: str, value: bytes) -> None:
        self._states.save(self._operator, key, value)

    def kvs_write(self, key: str, value: bytes) -> None:
        self._states.kvs.write(key, value)

    def kvs_read(self, key: str) -> bytes | None:
        return self._states.kvs.read(key)

    def log(self, level: str, message: str) -> None:
        self._states.log(self._operator, level, message)
