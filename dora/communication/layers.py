"""The layers that one node needs, opened when the first of its edges does. Node (>= 3.10)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dora.communication.base import Layer
from dora.communication.memory import MemoryLayer
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.dataflow import DOCUMENT

if TYPE_CHECKING:
    from dora.communication.shm.layer import ShmLayer


class Layers:
    """`returns`: whether the node is started again when it dies."""

    def __init__(self, config: NodeConfig, *, returns: bool) -> None:
        self._config = config
        self._returns = returns
        self._open: dict[str, Layer] = {}

    def __repr__(self) -> str:
        return f"<Layers {sorted(self._open)}>"

    def get(self, name: str) -> Layer:
        """Raises DoraError for a layer that does not exist, or that is not configured."""
        if name not in self._open:
            self._open[name] = self._make(name)
        return self._open[name]

    @property
    def shm(self) -> ShmLayer | None:
        """The layer of this machine, if an edge uses it."""
        layer: Any = self._open.get("shm")
        return layer  # type: ignore[no-any-return]

    def close(self) -> None:
        """May be called twice."""
        for layer in self._open.values():
            layer.close()

    def _make(self, name: str) -> Layer:
        if name == "memory":
            return MemoryLayer()
        if name == "zenoh":
            if self._config.zenoh is None:
                raise DoraError(f"${NODE_CONFIG} names no router for layer 'zenoh'")
            from dora.communication.zenoh import ZenohLayer  # only nodes that need it pay for it

            return ZenohLayer(self._config.zenoh)
        if name == "shm":
            if self._config.shm is None:
                raise DoraError(f"${NODE_CONFIG} names no folder for layer 'shm'")
            from dora.communication.shm.layer import ShmLayer

            documents = self._config.documents
            return ShmLayer(
                self._config.shm,
                node=self._config.node,
                returns=self._returns,
                document=Path(documents, DOCUMENT) if documents else None,
            )
        raise DoraError(f"${NODE_CONFIG} asks for communication layer {name!r}: there is none")
