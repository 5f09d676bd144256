"""Nodes as users write them: real processes, a real router."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dora.protocol.config import InputConfig
from tests.dora.harness import RECORD, Playground, events, playground

SEND_THREE = """
    import pyarrow as pa
    from dora import Node
    node = Node()
    for number in range(3):
        node.send_output("number", pa.array([number]))
"""


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        area.router()
        yield area


def test_a_consumer_gets_every_message_then_the_end(area: Playground) -> None:
    """The first message is not lost, the input closes behind the last, then comes STOP."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    source = area.start("source", SEND_THREE)
    sink = area.start("sink", RECORD)
    assert (0, 0) == (source.wait(), sink.wait())
    assert [
        {"type": "INPUT", "id": "n", "value": [0]},
        {"type": "INPUT", "id": "n", "value": [1]},
        {"type": "INPUT", "id": "n", "value": [2]},
        {"type": "INPUT_CLOSED", "id": "n"},
        {"type": "STOP", "id": "ALL_INPUTS_CLOSED"},
    ] == events(sink)


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise ValueError('boom')", 1, "ValueError: boom"),
        ("sys.exit(3)", 3, ""),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, ""),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT, "Keyboard"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_a_node_ends_as_its_program_does_and_its_reader_learns_it(
    area: Playground, ending: str, status: int, said: str
) -> None:
    """However a producer ends, it ends at once with its own status, and its outputs close."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        f"""
        import os, signal, sys, threading, time
        from dora import Node
        signal.signal(signal.SIGINT, signal.default_int_handler)
        node = Node()
        node.send_output("number", b"x")
        time.sleep(0.1)
        {ending}
        """,
    )
    assert status == source.wait(10)
    assert said in source.text()
    assert 0 == sink.wait()
    assert ["INPUT", "INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)]


def test_a_burst_before_the_end_arrives_whole(area: Playground) -> None:
    """Whatever was sent before the process ended is delivered, to the last message."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": InputConfig("source/number", "zenoh", queue_size=10_000)})
    sink = area.start("sink", RECORD)
    area.start(
        "source",
        """
        import pyarrow as pa
        from dora import Node
        node = Node()
        for number in range(1000):
            node.send_output("number", pa.array([number]))
        """,
    )
    sink.wait()
    expected = [[number] for number in range(1000)]
    assert expected == [event["value"] for event in events(sink) if event["type"] == "INPUT"]
