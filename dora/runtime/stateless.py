"""What operators are offered where nothing can be kept: a clear error. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Mapping

from dora.errors import DoraError
from dora.log import write_line


class NoState:
    """Stands in for a store of state where there is none."""

    def __init__(self, node: str) -> None:
        self._node = node

    def context(self, operator: str) -> NoContext:
        return NoContext(self._node, operator)

    def saved(self, operator: str) -> Mapping[str, bytes]:
        return {}


class NoContext:
    __slots__ = ("_node", "_operator")

    def __init__(self, node: str, operator: str) -> None:
        self._node = node
        self._operator = operator

    def save_state(self, key: str, value: bytes) -> None:
        raise self._error()

    def kvs_write(self, key: str, value: bytes) -> None:
        raise self._error()

    def kvs_read(self, key: str) -> bytes | None:
        raise self._error()

    def log(self, level: str, message: str) -> None:
        write_line(self._node, level, message, self._operator, None)

    def _error(self) -> DoraError:
        return DoraError(f"operator {self._operator}: this node has no folder to keep state in")
