"""The layers that one node needs, opened when the first of its edges does. Node (>= 3.10)."""

from __future__ import annotations

from dora.communication.base import Layer
from dora.communication.memory import MemoryLayer
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, NodeConfig


class Layers:
    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._open: dict[str, Layer] = {}

    def __repr__(self) -> str:
        return f"<Layers {sorted(self._open)}>"

    def get(self, name: str) -> Layer:
        """Raises DoraError for a layer that does not exist, or that is not configured."""
        if name not in self._open:
            self._open[name] = self._make(name)
        return self._open[name]

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
        raise DoraError(f"${NODE_CONFIG} asks for communication layer {name!r}: there is none")
