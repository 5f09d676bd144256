"""The layers that one node needs, opened when the first of its edges does. Node (>= 3.10)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dora.communication.base import Layer, Publisher, Subscription
from dora.communication.distribution import Share
from dora.communication.memory import MemoryLayer
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, InputConfig, NodeConfig, OutputConfig
from dora.protocol.dataflow import DOCUMENT

if TYPE_CHECKING:
    from dora.communication.shm.layer import ShmLayer


class Layers:
    """`returns`: from when on the node is started again when it dies (`protocol.comeback`)."""

    def __init__(self, config: NodeConfig, *, returns: int) -> None:
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

    def publish(self, name: str, route: str, output: OutputConfig) -> Publisher:
        """Raises like `get`."""
        layer: Any = self.get(name)
        options: dict[str, Any] = {}
        if name == "zenoh":
            options = {
                "priority": output.priority,
                "cache": output.cache,
            }
            if output.shared:
                options |= {"shared": True, "replica_of": self._config.base}
        publisher: Publisher = layer.publish(route, **options)
        return publisher

    def subscribe(self, route: str, wired: InputConfig) -> Subscription:
        """Raises like `get`."""
        layer: Any = self._at(wired.at) if wired.at else self.get(wired.layer)
        options: dict[str, Any] = {"cache": wired.cache} if wired.layer == "zenoh" else {}
        if wired.share:
            options["share"] = Share(wired.share, self._config.node, wired.key)
        subscribe = layer.join if wired.joined else layer.subscribe
        subscription: Subscription = subscribe(
            route, wired.queue_size, wired.queue_policy, **options
        )
        return subscription

    def _at(self, router: str) -> Layer:
        """Other machines' routers, each with a session of its own."""
        if router not in self._open:
            if self._config.links is None:
                raise DoraError(f"${NODE_CONFIG} has no `links`, and an input is to be read there")
            from dora.communication.zenoh.layer import ZenohLayer

            self._open[router] = ZenohLayer(router, self._config.links)
        return self._open[router]

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
            # Only nodes that need it pay for it.
            from dora.communication.zenoh.layer import ZenohLayer

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
