"""The data plane alone on the test LAN: a router in each robot's network, layers in this process.

Unix sockets by path are reachable from every network namespace, so the nodes' side needs no
process of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dora.communication.base import Kind, Publisher, Subscription
from dora.communication.direct.layer import DirectLayer
from dora.communication.zenoh.layer import ZenohLayer
from dora.compile.dataplane import dials
from dora.coordinator.keys import create_keys
from dora.protocol.config import Links
from tests.dora.harness import PATIENCE, Playground, Process, playground
from tests.lan.bench import Lan, wait_until

PORT = 7447


class DataPlane:
    """Robots 1 to 3 with a router each, meshed over QUIC with mutual TLS."""

    def __init__(self, lan: Lan, area: Playground) -> None:
        self.lan = lan
        self._area = area
        self._keys = {i: create_keys(lan.name(i), lan.address(i)) for i in lan.robots}
        self._routers: dict[int, Process] = {}
        self._layers: list[ZenohLayer | DirectLayer] = []
        for i in lan.robots:
            self.start_router(i)

    def start_router(self, i: int) -> None:
        folder = self._area.folder / str(i)
        folder.mkdir(exist_ok=True)
        (folder / "key.pem").write_text(self._keys[i].key_pem)
        (folder / "certificate.pem").write_text(self._keys[i].certificate_pem)
        others = [o for o in self.lan.robots if dials(self.lan.name(i), self.lan.name(o))]
        self._routers[i] = self._area.router(
            self.lan.name(i),
            within=self.lan.on_network(i),
            listen=f"0.0.0.0:{PORT}",
            door=f"0.0.0.0:{PORT}",
            connect={self.lan.name(o): f"{self.lan.address(o)}:{PORT}" for o in others},
            key=str(folder / "key.pem"),
            certificate=str(folder / "certificate.pem"),
            authorities="".join(keys.authority_pem for keys in self._keys.values()),
        )

    def kill_router(self, i: int) -> None:
        self._routers[i].kill()

    def layer(self, i: int) -> ZenohLayer:
        """A session of its own with the router of robot `i`, as a node there has one."""
        layer = ZenohLayer(self._area.socket(self.lan.name(i)))
        self._layers.append(layer)
        return layer

    def links(self, i: int) -> Links:
        """What a node of robot `i` needs to speak with those of other robots itself."""
        folder = self._area.folder / str(i)
        authorities = "".join(keys.authority_pem for keys in self._keys.values())
        return Links(str(folder / "key.pem"), str(folder / "certificate.pem"), authorities)

    def direct(self, i: int, node: str) -> DirectLayer:
        """What a node of robot `i` sends and reads past routers."""
        name = self.lan.name(i)
        layer = DirectLayer(self.layer(i).session, self._area.socket(name), node, self.links(i))
        self._layers.append(layer)
        return layer

    def door(self, i: int) -> str:
        """Where those are called that send directly from robot `i`."""
        return f"{self.lan.address(i)}:{PORT}"

    def end(self) -> None:
        for layer in reversed(self._layers):
            layer.close()


@contextmanager
def data_plane(lan: Lan) -> Iterator[DataPlane]:
    with playground() as area:
        plane = DataPlane(lan, area)
        try:
            yield plane
        finally:
            plane.end()


class Reader:
    """Takes what a subscription gives, in a thread: (n, monotonic seconds) of each message."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.found: list[tuple[int, float]] = []
        self.closed = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.found]

    def end(self) -> None:
        self._end.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._end.is_set():
            message = self.subscription.receive()
            if message is None:
                time.sleep(0.001)
            elif message.kind is Kind.CLOSED:
                self.closed = True
            elif "n" in message.metadata:
                self.found.append((message.metadata["n"], time.monotonic()))


def undisturbed(sender: Sender, *readers: Reader) -> int:
    """Waits until a second has passed of which nothing was lost on its way to any of them: routers
    that have just found each other may still change their ways. Since which number that is so."""
    begin = 0

    def whole() -> bool:
        nonlocal begin
        begin = sender.sent
        time.sleep(1)
        end = sender.sent
        for it in readers:
            wait_until(lambda: it.numbers[-1:] > [end], "what is sent now comes")  # noqa: B023
        return all({*range(begin, end)} <= {*it.numbers} for it in readers)

    wait_until(whole, "a second without a loss")
    return begin


class Sender:
    """Sends numbered messages to some publishers, at a steady rate, in a thread."""

    def __init__(self, *publishers: Publisher, hz: float, value: Any = b"x") -> None:
        self.sent = 0
        self.slowest = 0.0  # seconds that one round of sends took at most
        self._publishers = publishers
        self._period = 1 / hz
        self._value = value
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """How many were sent to each."""
        self._end.set()
        self._thread.join(PATIENCE)
        return self.sent

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            for publisher in self._publishers:
                publisher.send(self._value, {"n": self.sent}, time.time_ns())
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            due += self._period
