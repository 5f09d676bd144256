"""What a deployment's nodes and operators share on one machine, key by key. Node (>= 3.10)."""

from __future__ import annotations

from pathlib import Path

from dora.storage import StateError, Storage

FILE = ".shared/kvs.sqlite"  # in the deployment's folder of state
LIMIT = 256 << 20  # bytes of all keys and values

_EVERYBODY = ""


class Kvs:
    """`state`: the deployment's folder of state; None where there is none.

    Raises StateError, as `Storage`.
    """

    def __init__(self, state: str | None) -> None:
        self._storage = None if state is None else Storage(Path(state, FILE), LIMIT)

    def __repr__(self) -> str:
        return f"<Kvs {self._storage!r}>"

    def write(self, key: str, value: bytes) -> None:
        """Durable when it returns."""
        self._open().put(_EVERYBODY, key, value)

    def read(self, key: str) -> bytes | None:
        """What was written last, by whomever; None if nothing was."""
        return self._open().get(_EVERYBODY, key)

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()

    def _open(self) -> Storage:
        if self._storage is None:
            raise StateError("this node has no folder to keep state in")
        return self._storage
