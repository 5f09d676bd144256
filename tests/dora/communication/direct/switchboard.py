"""Machines on loopback whose nodes read each other directly: a router, a door, keys for all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from dora.communication.direct.door import Door
from dora.communication.direct.layer import DirectLayer
from dora.communication.direct.subscription import DirectSubscription
from dora.communication.zenoh.layer import ZenohLayer
from dora.coordinator.keys import create_keys
from dora.protocol.config import Links


class At(DirectLayer):
    """Reads all that it reads from nodes of one machine."""

    at: str

    def subscribe(
        self, route: str, queue_size: int, queue_policy: str, **options: Any
    ) -> DirectSubscription:
        options.setdefault("at", self.at)
        options.setdefault("name", "in")
        return super().subscribe(route, queue_size, queue_policy, **options)


class Switchboard:
    """`router` is the socket of a router that runs. The door is served by a thread of this one."""

    def __init__(self, router: str, folder: Path, *, secret: bool) -> None:
        self.router = router
        self.door = Door("127.0.0.1:0", router)
        self.at = f"127.0.0.1:{self.door.port}"
        self.links = keys(folder) if secret else Links(insecure=True)
        self._opened: list[Any] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def node(self, name: str, links: Links | None = None) -> At:
        zenoh = ZenohLayer(self.router)
        layer = At(zenoh.session, self.router, name, links or self.links)
        layer.at = self.at
        self._opened += [layer, zenoh]
        return layer

    def close(self) -> None:
        for layer in self._opened:
            layer.close()
        self._ended.set()
        self._thread.join()
        self.door.close()

    def _serve(self) -> None:
        while not self._ended.wait(0.002):
            self.door.serve()


def keys(folder: Path, *trusted: str, name: str = "here") -> Links:
    """Of a machine that trusts itself, and these (PEM)."""
    folder.mkdir(exist_ok=True)
    made = create_keys(name, "127.0.0.1")
    key, certificate = folder / f"{name}-key.pem", folder / f"{name}-certificate.pem"
    key.write_text(made.key_pem)
    certificate.write_text(made.certificate_pem)
    return Links(str(key), str(certificate), made.authority_pem + "".join(trusted))
