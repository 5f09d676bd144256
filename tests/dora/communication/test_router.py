"""Routers as machines run them: their life, and the links between them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dora.communication.router import router_settings
from dora.communication.zenoh.layer import ZenohLayer
from dora.coordinator.keys import create_keys
from dora.protocol.router import ROUTER_CONFIG, RouterConfig
from tests.dora.communication.suite import ROUTE, T, deliver, numbers, settle
from tests.dora.harness import KILL, RECORD, Playground, events, free_port, playground, wait_until


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        yield area


class Machines:
    """Routers with keys of their own that dial each other over QUIC on loopback."""

    def __init__(self, area: Playground, *names: str) -> None:
        self.area = area
        self.ports = {name: free_port() for name in names}
        self.keys = {name: create_keys(name, "127.0.0.1") for name in names}

    def options(self, name: str, trusted: tuple[str, ...]) -> dict[str, Any]:
        folder = self.area.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "key.pem").write_text(self.keys[name].key_pem)
        (folder / "certificate.pem").write_text(self.keys[name].certificate_pem)
        return {
            "listen": f"127.0.0.1:{self.ports[name]}",
            "connect": {o: f"127.0.0.1:{p}" for o, p in self.ports.items() if o != name},
            "key": str(folder / "key.pem"),
            "certificate": str(folder / "certificate.pem"),
            "authorities": "".join(self.keys[other].authority_pem for other in trusted),
        }

    def start(self, name: str, *trusted: str) -> None:
        self.area.router(name, **self.options(name, trusted or tuple(self.ports)))


def test_data_crosses_three_machines_with_mutual_tls(area: Playground) -> None:
    """Each machine has its own authority; all are trusted through one bundle."""
    machines = Machines(area, "a", "b", "c")
    for name in "abc":
        machines.start(name)
    layers = {name: ZenohLayer(area.socket(name)) for name in "abc"}
    try:
        readers = [layers[name].subscribe(ROUTE, 10, "drop_oldest") for name in "bc"]
        publisher = layers["a"].publish(ROUTE)
        settle(publisher, *readers)
        data = b"x" * 1_000_000
        for number, reader in enumerate(readers):
            message = deliver(publisher, reader, data, number, lossy=True)
            assert data == message.value().to_numpy().tobytes()
        assert readers[1].receive() is None
        assert 1 >= len(list(iter(readers[0].receive, None)))  # what the other one waited for
    finally:
        for layer in layers.values():
            layer.close()


def test_a_port_that_was_taken_meanwhile_says_what_to_do(area: Playground) -> None:
    """Two deployments that begin at the same moment may have been told the same one."""
    machines = Machines(area, "a")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", machines.ports["a"]))
        router = area.router("a", ready=False, **machines.options("a", ("a",)))
        assert 1 == router.wait()
    assert "Deploy again" in router.text()


@pytest.mark.parametrize("dialler", ["stranger", "b"])
def test_a_machine_that_is_not_trusted_gets_nothing(area: Playground, dialler: str) -> None:
    """Names are not verified, but certificates are: on the side that listens, and that dials."""
    machines = Machines(area, "a", "b", "stranger")
    stranger = machines.options("stranger", ("a", "b", "stranger"))
    options = machines.options("b", ("a", "b"))
    stranger["connect"] = {"b": options["listen"]} if dialler == "stranger" else {}
    options["connect"] = {"stranger": stranger["listen"]} if dialler == "b" else {}
    area.router("stranger", **stranger)
    area.router("b", **options)
    layers = {name: ZenohLayer(area.socket(name)) for name in ("b", "stranger")}
    try:
        reader = layers["b"].subscribe(ROUTE, 10, "drop_oldest")
        stolen = layers["stranger"].publish(ROUTE)
        # Meanwhile a machine that is trusted gets through, by the same listener and dialler.
        machines.start("a", "a", "b")
        layers["a"] = ZenohLayer(area.socket("a"))
        publisher = layers["a"].publish(ROUTE)
        settle(publisher, reader)
        deadline = time.monotonic() + 2.5  # both sides dial again at least every second
        while time.monotonic() < deadline:
            stolen.send(b"", {"n": -1}, T)
            assert reader.receive() is None
            time.sleep(0.05)
        publisher.send(b"", {"n": 1}, T)
        assert [1] == numbers(reader, 1)
    finally:
        for layer in layers.values():
            layer.close()


def test_a_cut_between_machines_closes_nothing(area: Playground) -> None:
    """The reader on the other machine hears its producer again, and its real end."""
    machines = Machines(area, "a", "b")
    machines.start("a")
    machines.start("b")
    area.node("source", outputs=("number",), machine="a")
    area.node("sink", {"n": "source/number"}, machine="b")
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        from dora import Node
        node = Node()
        while node.next(timeout=0.02)["type"] == "ERROR":
            node.send_output("number", b"x")
        """,
    )
    wait_until(lambda: len(events(sink)) > 3, "data")
    for process in area.processes[:2]:
        process.kill()
    # Longer than a dead node's readers would have to wait for the news.
    time.sleep(1.5)
    machines.start("a")
    machines.start("b")
    before = len(events(sink))
    wait_until(lambda: len(events(sink)) > before + 3, "data again")
    assert {"INPUT"} == {event["type"] for event in events(sink)}
    source.kill()
    assert 0 == sink.wait()
    assert ["INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)][-2:]


@pytest.mark.parametrize(
    ("restart", "expected"),
    [("never", ["NODE_FAILED", "INPUT_CLOSED", "STOP"]), ("always", ["NODE_RESTARTED"])],
)
def test_a_death_is_heard_of_on_other_machines(
    area: Playground, restart: str, expected: list[str]
) -> None:
    """Once, from the router of its own machine, behind the messages that came before."""
    machines = Machines(area, "a", "b")
    machines.start("a")
    machines.start("b")
    area.node("source", outputs=("number",), machine="a", restart=restart)
    area.node("sink", {"n": "source/number"}, machine="b")
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        import time
        from dora import Node
        node = Node()
        node.send_output("number", b"x")
        time.sleep(600)
        """,
    )
    wait_until(lambda: events(sink), "data")
    source.kill()
    wait_until(lambda: len(events(sink)) > len(expected), "the news")
    assert ["INPUT", *expected] == [event["type"] for event in events(sink)]
    assert "source" == events(sink)[1]["id"]


@pytest.mark.parametrize("ask", ["SIGTERM", "SIGINT", "stop"])
def test_a_router_leaves_cleanly_when_asked(area: Playground, ask: str) -> None:
    """By a signal or by the line `stop`; its socket goes with it."""
    control = area.folder / "control"
    os.mkfifo(control)
    os.environ["DEPLOY_CONTROL"] = str(control)
    try:
        router = area.router()
    finally:
        del os.environ["DEPLOY_CONTROL"]
    assert 0 == Path(area.socket()).stat().st_mode & 0o077
    if ask == "stop":
        with control.open("w") as file:
            file.write("stop\n")
    else:
        router.signal(signal.Signals[ask])
    assert 0 == router.wait()
    assert [] == [path.name for path in area.folder.glob("here.sock*")]


def test_a_killed_routers_socket_is_in_nobodys_way(area: Playground) -> None:
    """The next one takes its place."""
    router = area.router()
    router.signal(KILL)
    router.wait()
    assert Path(area.socket()).exists()
    area.router()
    ZenohLayer(area.socket()).close()


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("", 2, f"${ROUTER_CONFIG}"),
        ('{"dataflow":"f","machine":"m","socket":"/x","surprise":1}', 2, "surprise"),
        ('{"dataflow":"f","machine":"m","socket":"s","listen":"127.0.0.1:1"}', 2, "keys"),
        (
            '{"dataflow":"f","machine":"m","socket":"s","listen":"192.0.2.1:1","insecure":true}',
            1,
            "192",
        ),
    ],
)
def test_a_bad_configuration_is_said(area: Playground, text: str, status: int, said: str) -> None:
    """With a message, no traceback."""
    process = area.program(
        "router", ["-m", "dora.communication.router"], {ROUTER_CONFIG: text}, ready=False
    )
    assert status == process.wait()
    assert said in process.text()
    assert "Traceback" not in process.text()


def settings(**options: Any) -> dict[str, Any]:
    return router_settings(RouterConfig(dataflow="f", machine="m", socket="/s", **options))


def test_without_keys_only_the_unix_socket_is_open() -> None:
    """Unless plain TCP is asked for by name."""
    closed = settings()
    assert (["unixsock-stream//s"], []) == (
        closed["listen"]["endpoints"],
        closed["connect"]["endpoints"],
    )
    with pytest.raises(ValueError, match="insecure"):
        settings(connect={"b": "h:1"})
    plain = settings(connect={"b": "h:1"}, listen="0.0.0.0:2", insecure=True)
    assert ["tcp/h:1"] == plain["connect"]["endpoints"]
    assert ["unixsock-stream//s", "tcp/0.0.0.0:2"] == plain["listen"]["endpoints"]


@pytest.mark.parametrize(
    "options", [{"key": "k"}, {"certificate": "c"}, {"key": "k", "certificate": "c"}]
)
def test_half_a_configuration_is_refused(options: dict[str, str]) -> None:
    """Rather than run without the protection that was meant."""
    with pytest.raises(ValueError, match="key"):
        settings(**options)
