"""Whole nodes that read each other past the routers of their machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dora.protocol.config import InputConfig, Links, OutputConfig
from tests.dora.harness import RECORD, Playground, events, free_port, playground, wait_until

COUNT = """
    from dora import Node
    node = Node()
    for i in range(3):
        node.send_output("n", bytes([i]))
"""
GO_ON = """
    import time
    from dora import Node
    node = Node()
    for i in range(256):
        node.send_output("n", bytes([i]))
        time.sleep(0.02)
"""
DIRECT = OutputConfig(("direct",), callers=("sink/n",))
OPEN = Links(insecure=True)


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        door = f"127.0.0.1:{free_port()}"
        area.router(door=door)
        source = InputConfig("source/n", "direct", queue_size=1000, at=door)
        area.node("sink", {"n": source}, links=OPEN, layer="direct")
        area.node("source", outputs={"n": DIRECT}, links=OPEN, restart="always")
        yield area


@pytest.mark.parametrize("first", ["sink", "source"])
def test_the_first_message_is_sent_when_the_reader_has_called(area: Playground, first: str) -> None:
    """Whoever comes first; and the input closes behind the last."""
    code = {"sink": RECORD, "source": COUNT}
    other = "source" if first == "sink" else "sink"
    area.node("source", outputs={"n": DIRECT}, links=OPEN)
    processes = {name: area.start(name, code[name], ready=False) for name in (first, other)}
    sink = processes["sink"]
    wait_until(lambda: "end" in sink.lines(), "the end of the sink")
    found = events(sink)
    assert [[0], [1], [2]] == [it["value"] for it in found if it["type"] == "INPUT"]
    assert ["INPUT_CLOSED", "STOP"] == [it["type"] for it in found[3:]]


def test_a_reader_hears_of_its_senders_death_and_of_its_successor(area: Playground) -> None:
    """As over routers."""
    sink = area.start("sink", RECORD)
    source = area.start("source", GO_ON, ready=False)
    wait_until(lambda: events(sink), "data")
    source.kill()
    wait_until(
        lambda: "NODE_RESTARTED" in [it["type"] for it in events(sink)], "the news of its death"
    )
    before = len(events(sink))
    area.start("source", GO_ON, ready=False)
    wait_until(lambda: len(events(sink)) > before + 5, "data of its successor")
    assert {"INPUT", "NODE_RESTARTED"} == {it["type"] for it in events(sink)}
