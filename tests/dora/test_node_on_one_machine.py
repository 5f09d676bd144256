"""Nodes that only speak to their own machine, or to it among others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from dora.protocol.config import InputConfig, NodeConfig, OutputConfig
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import NodeWays, to_text
from tests.dora.harness import KILL, PATIENCE, RECORD, Playground, events, playground, wait_until


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        area.layer = "shm"
        yield area


def test_zenoh_is_not_even_loaded(area: Playground) -> None:
    """By a node that sends, receives, waits for its readers and ends."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    program = """
        import sys
        from dora import Node
        node = Node()
        {}
        del node
        print("zenoh" in sys.modules, flush=True)
    """
    source = area.start("source", program.format("node.send_output('number', b'x')"))
    sink = area.start("sink", program.format("print([event['type'] for event in node])"))
    assert (0, 0) == (source.wait(), sink.wait())
    assert ["False"] == source.lines()
    assert ["['INPUT', 'INPUT_CLOSED', 'STOP']", "False"] == sink.lines()


def test_outputs_filled_in_place_arrive(area: Playground) -> None:
    """By our own name for it and by dora's, with metadata."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        import numpy as np
        from dora import Node
        node = Node()
        with node.allocate_output("number", shape=(2, 3), dtype="int16") as sample:
            sample.array[:] = np.arange(6).reshape(2, 3)
        sample = node.allocate_output("number", 2, metadata={"k": 1})
        sample.view[:] = b"ab"
        sample.send()
        with node.send_output_raw("number", 3, {"k": 2}) as buffer:
            buffer[:] = b"xyz"
        for wrong in (
            lambda: node.send_output_raw("other", 3),
            lambda: node.allocate_output("other", 3),
        ):
            try:
                wrong()
            except RuntimeError as error:
                print(error, flush=True)
        """,
    )
    assert (0, 0) == (source.wait(), sink.wait())
    assert [[0, 1, 2, 3, 4, 5], list(b"ab"), list(b"xyz")] == [
        event["value"] for event in events(sink) if event["type"] == "INPUT"
    ]
    assert ["'other' is not in the node's output list (number)"] * 2 == source.lines()


def test_readers_of_both_layers_are_waited_for(area: Playground) -> None:
    """One in shared memory, one that comes by zenoh, though from this machine: neither misses the
    first message, and it is sent as soon as both are there."""
    area.router()
    area.node("source", outputs=("number",), barrier=10 * PATIENCE)
    config = area._configs["source"]
    both = {**json.loads(config.to_text()), "outputs": {"number": {"layers": ["shm", "zenoh"]}}}
    area._configs["source"] = NodeConfig.from_text(json.dumps(both))
    area.node("near", {"n": InputConfig("source/number", "shm")})
    area.node("far", {"n": InputConfig("source/number", "zenoh")})
    ways = {name: NodeWays.of(it) for name, it in area._configs.items()}
    (area.folder / "documents" / WAYS).write_text(to_text(ways))
    source = area.start(
        "source",
        """
        from dora import Node
        node = Node()
        node.send_output("number", b"x")
        with node.allocate_output("number", 1) as sample:
            sample.view[:] = b"y"
        """,
    )
    time.sleep(0.5)
    assert source.popen.poll() is None
    readers = [area.start(name, RECORD) for name in ("near", "far")]
    assert [0, 0, 0] == [process.wait() for process in (source, *readers)]
    for reader in readers:
        assert [list(b"x"), list(b"y")] == [
            event["value"] for event in events(reader) if event["type"] == "INPUT"
        ]
        assert ["INPUT_CLOSED", "STOP"] == [event["type"] for event in events(reader)][2:]


@pytest.mark.parametrize("restart", ["never", "always"])
def test_a_killed_node_closes_its_outputs_unless_it_comes_back(
    area: Playground, restart: str
) -> None:
    """Without a router that could say so."""
    area.node("source", outputs=("number",), restart=restart)
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        import time
        from dora import Node
        node = Node()
        while True:
            node.send_output("number", b"x")
            time.sleep(0.01)
        """,
    )
    wait_until(lambda: len(events(sink)) > 3, "data")
    os.kill(source.pid, KILL)
    if restart == "never":
        assert 0 == sink.wait()
        assert ["INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)][-2:]
    else:
        time.sleep(2)
        assert {"INPUT", "NODE_RESTARTED"} == {event["type"] for event in events(sink)}


def test_a_configuration_without_the_folder_says_so(area: Playground) -> None:
    """In one line."""
    area.node("source", outputs=("number",))
    config = NodeConfig("flow", "id", "source", outputs={"number": OutputConfig(("shm",))})
    area._configs["source"] = config
    source = area.start("source", "from dora import Node\nNode()", ready=False)
    assert 1 == source.wait()
    assert "RuntimeError: $DORA_NODE_CONFIG names no folder for layer 'shm'" in source.lines()


def test_nothing_stays_behind_killed_nodes(area: Playground) -> None:
    """No shared memory has a name."""

    def named() -> set[str]:
        # Other programs' may come and go meanwhile: zenoh's do.
        return {name for name in os.listdir("/dev/shm") if not name.endswith(".zenoh")}

    before = named()
    area.node("source", outputs=("number",), barrier=0)
    source = area.start(
        "source",
        """
        import time
        from dora import Node
        node = Node()
        sample = node.allocate_output("number", 10_000_000)
        print("allocated", flush=True)
        time.sleep(600)
        """,
    )
    source.wait_for("allocated")
    assert before == named()
    source.kill()
    assert before == named()
