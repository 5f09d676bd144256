"""The layers that one node needs, opened when the first of its edges does. Node (>= 3.10)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dora.communication.base import Layer, Publisher, Subscription
from dora.communication.distribution import Share
from dora.communication.memory import MemoryLayer
from dora.errors import DoraError
from dora.protocol.config import NODE_CONFIG, InputConfig, NodeConfig, OutputConfig
from dora.protocol.dataflow import DOCUMENT
from dora.protocol.ways import DOCUMENT as WAYS

if TYPE_CHECKING:
    from dora.communication.direct.layer import DirectLayer
    from dora.communication.shm.layer import ShmLayer

logger = logging.getLogger("dora")

MOMENT = 0.2  # s that opening a session with a router may take, if it is there


class Layers:
    """`returns`: from when on the node is started again when it dies (`protocol.comeback`)."""

    def __init__(self, config: NodeConfig, *, returns: int) -> None:
        self._config = config
        self._returns = returns
        self._open: dict[str, Layer] = {}
        self._opening: dict[str, threading.Thread] = {}
        self._heeded: tuple[int, Callable[[], bool]] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Layers {sorted(self._open)}>"

    def get(self, name: str) -> Layer:
        """Raises DoraError for a layer that does not exist, or that is not configured, or after
        `close`."""
        if name not in self._open:
            self._add(name, self._make(name))
        return self._open[name]

    def follow(self, config: NodeConfig) -> None:
        """From now on layers are opened as this one says; those that are open know other nodes by
        it."""
        with self._lock:
            self._config = config
            self._trust()

    def ready(self, name: str) -> bool:
        """Whether it is open. If not, it is being opened from now on: a router that is not there
        yet holds up nobody. Raises like `get`, also for what went wrong meanwhile."""
        if name in self._open:
            return True
        if name in ("shm", "memory"):
            self.get(name)
            return True
        thread = self._opening.get(name)
        if thread is None:
            opening = threading.Thread(target=self._try, args=(name,), daemon=True)
            thread = self._opening[name] = opening
            thread.start()
        thread.join(MOMENT)
        if not thread.is_alive():
            del self._opening[name]
            self.get(name)  # it is there, or says what is wrong
        return name in self._open

    def keep(self, names: Collection[str]) -> None:
        """Closes layers to other machines that are not among `names`."""
        with self._lock:
            unused = [it for it in self._open if it not in names and it not in ("shm", "memory")]
            layers = [self._open.pop(name) for name in unused]
        for layer in layers:
            layer.close()

    def heed(self, fd: int, is_over: Callable[[], bool]) -> None:
        """From now on nobody who sends waits any more once `is_over`, which is asked when `fd` is
        readable, and before it is waited for."""
        with self._lock:
            self._heeded = fd, is_over
            for name, layer in self._open.items():
                self._tell(name, layer)

    def publish(self, name: str, route: str, output: OutputConfig) -> Publisher:
        """Raises like `get`."""
        layer: Any = self.get(name)
        options: dict[str, Any] = {}
        if name == "direct":
            options = {"cache": output.cache}
        if name == "zenoh":
            options = {
                "priority": output.priority,
                "cache": output.cache,
            }
            if output.shared:
                options |= {"shared": True, "replica_of": self._config.base}
        publisher: Publisher = layer.publish(route, **options)
        return publisher

    def subscribe(self, route: str, name: str, wired: InputConfig) -> Subscription:
        """Raises like `get`. `name`: of the input."""
        layer: Any = self.get(wired.layer)
        options: dict[str, Any] = {}
        if wired.layer == "zenoh":
            options = {"cache": wired.cache}
        if wired.layer == "direct":
            options = {"cache": wired.cache, "at": wired.at, "name": name}
        if wired.share:
            options["share"] = Share(wired.share, self._config.node, wired.key)
        subscribe = layer.join if wired.joined else layer.subscribe
        subscription: Subscription = subscribe(
            route, wired.queue_size, wired.queue_policy, **options
        )
        return subscription

    @property
    def direct(self) -> DirectLayer | None:
        """The layer past routers, if an edge uses it."""
        layer: Any = self._open.get("direct")
        return layer  # type: ignore[no-any-return]

    @property
    def shm(self) -> ShmLayer | None:
        """The layer of this machine, if an edge uses it."""
        layer: Any = self._open.get("shm")
        return layer  # type: ignore[no-any-return]

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._closed = True
            layers = list(self._open.values())
        for layer in layers:
            layer.close()

    def _add(self, name: str, layer: Layer) -> None:
        with self._lock:
            if not self._closed and name not in self._open:
                self._open[name] = layer
                self._trust()  # it was opened by what was told before, perhaps
                self._tell(name, layer)
                return
        layer.close()  # another thread was quicker
        if self._closed:
            raise DoraError("the node has ended")

    def _trust(self) -> None:
        links = self._config.links
        if self.direct is not None and links is not None:
            self.direct.trust(links)

    def _try(self, name: str) -> None:
        try:
            self.get(name)
        except DoraError as error:
            logger.debug("%s", error)  # who asks for it is told by `ready`

    def _tell(self, name: str, layer: Any) -> None:
        if self._heeded is None or name == "memory":
            return
        if name == "shm":
            layer.heed(*self._heeded)
        else:
            layer.heed(self._heeded[1])

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
        if name == "direct":
            if self._config.links is None:
                raise DoraError(f"${NODE_CONFIG} has no `links` for layer 'direct'")
            from dora.communication.direct.layer import DirectLayer

            zenoh: Any = self.get("zenoh")
            return DirectLayer(
                zenoh.session, str(self._config.zenoh), self._config.node, self._config.links
            )
        if not name:
            raise DoraError(
                f"no layer is known for an edge: {WAYS} in {self._config.documents} tells them"
            )
        raise DoraError(f"${NODE_CONFIG} asks for communication layer {name!r}: there is none")
