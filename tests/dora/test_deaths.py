"""What nodes hear of the death of those that they read: real processes, killed; both layers."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from dora.protocol.config import InputConfig
from tests.dora.harness import KILL, Playground, Process, events, wait_until

SEND = """
    import sys, time
    from dora import Node
    node = Node()
    for number in range(3):
        for output in ("a", "b"):
            node.send_output(output, bytes([number]))
    {}
"""
LASTS = SEND.format("time.sleep(600)")

HEAR = """
    import json
    from dora import Node
    for event in Node():
        shown = {key: event[key] for key in ("type", "id") if key in event}
        if event["type"] == "NODE_FAILED":
            shown.update(event["value"])
        print(json.dumps(shown), flush=True)
"""


def wire(area: Playground, restart: str = "never") -> None:
    area.node("source", outputs=("a", "b"), restart=restart)
    area.node("sink", {"x": "source/a", "y": "source/b"})


def kill(process: Process) -> None:
    os.kill(process.pid, KILL)
    process.wait()


def types(process: Process) -> list[str]:
    return [event["type"] for event in events(process)]


def failures(process: Process) -> list[dict[str, Any]]:
    return [event for event in events(process) if event["type"] == "NODE_FAILED"]


KILLED = {
    "type": "NODE_FAILED",
    "id": "source",
    "source_node_id": "source",
    "error": "its process ended without a word: killed, or crashed",
    "affected_input_ids": ["x", "y"],
}


@pytest.mark.parametrize(
    ("restart", "env"),
    [("never", {}), ("on-failure", {"DEPLOY_RETURNS": "never"})],
    ids=["never", "used up"],
)
def test_a_node_that_was_killed_for_good_has_failed(
    area: Playground, restart: str, env: dict[str, str]
) -> None:
    """Its readers hear it once, behind all that it sent and before their inputs close."""
    wire(area, restart)
    sink = area.start("sink", HEAR)
    source = area.start("source", LASTS, env=env)
    wait_until(lambda: types(sink).count("INPUT") == 6, "its messages")
    kill(source)
    assert 0 == sink.wait()
    assert [KILLED] == failures(sink)
    assert ["INPUT"] * 6 + ["NODE_FAILED"] == types(sink)[:7]
    assert ["INPUT_CLOSED", "INPUT_CLOSED", "STOP"] == types(sink)[7:]


def test_a_node_that_comes_back_is_restarted(area: Playground) -> None:
    """Once for each death, before its next message; nothing closes until it ends well."""
    wire(area, "on-failure")
    sink = area.start("sink", HEAR)
    for number in range(1, 3):
        source = area.start("source", LASTS, env={"DEPLOY_RESTARTS": str(number - 1)})
        wait_until(lambda n=number: types(sink).count("INPUT") == 6 * n, "its messages")
        kill(source)
        wait_until(lambda n=number: types(sink).count("NODE_RESTARTED") == n, "the news")
    last = area.start("source", SEND.format(""), env={"DEPLOY_RESTARTS": "2"})
    assert (0, 0) == (last.wait(), sink.wait())
    once = ["INPUT"] * 6 + ["NODE_RESTARTED"]
    expected = [*once, *once, *["INPUT"] * 6, "INPUT_CLOSED", "INPUT_CLOSED", "STOP"]
    assert expected == [it for it in types(sink) if it != "INPUT_RECOVERED"]
    assert "source" == next(it["id"] for it in events(sink) if it["type"] == "NODE_RESTARTED")


def test_a_node_that_raises_says_what(area: Playground) -> None:
    """To its readers, before their inputs close."""
    wire(area)
    sink = area.start("sink", HEAR)
    source = area.start("source", SEND.format("raise ValueError('no\\nmap')"))
    assert (1, 0) == (source.wait(), sink.wait())
    assert [{**KILLED, "error": "ValueError: no map"}] == failures(sink)
    assert types(sink).index("NODE_FAILED") < types(sink).index("INPUT_CLOSED")
    assert ["STOP"] == types(sink)[-1:]


def test_a_reader_that_starts_after_the_death_is_told(area: Playground) -> None:
    """Rather than wait for ever for a producer that nobody starts again."""
    area.node("source", outputs=("a", "b"), barrier=0)
    area.node("sink", {"x": "source/a", "y": "source/b"})
    source = area.start("source", SEND.format("print('up'); time.sleep(600)"))
    source.wait_for("up")
    kill(source)
    sink = area.start("sink", HEAR)
    assert 0 == sink.wait()
    assert [KILLED] == failures(sink)
    assert ["NODE_FAILED", "INPUT_CLOSED", "INPUT_CLOSED", "STOP"] == types(sink)


def test_a_node_that_was_asked_to_leave_has_not_failed(area: Playground) -> None:
    """Whoever asked knows what comes next; its readers hear nothing, and those that come later
    wait."""
    wire(area)
    sink = area.start("sink", HEAR)
    source = area.start("source", SEND.format("for event in node: print(event['type'])"))
    wait_until(lambda: types(sink).count("INPUT") == 6, "its messages")
    area.stop("source")
    assert 0 == source.wait()
    late = area.start("sink", HEAR)
    time.sleep(1.5)  # longer than a death is waited for
    assert {"INPUT"} == set(types(sink))
    assert [] == types(late)


@pytest.mark.parametrize("area", ["shm"], indirect=True)
def test_a_sender_that_is_held_back_sees_the_stop(area: Playground) -> None:
    """It does not wait for room any more, and gets to its events."""
    area.node("source", outputs=("a",))
    slow = InputConfig("source/a", "shm", queue_size=1, queue_policy="backpressure")
    area.node("sink", {"x": slow})
    area.start("sink", "import time\nfrom dora import Node\nnode = Node()\ntime.sleep(600)")
    source = area.start(
        "source",
        """
        from dora import Node
        node = Node()
        for number in range(1, 1_000_000):
            print(number, flush=True)
            node.send_output("a", b"x")
            event = node.try_recv()
            if event is not None:
                break
        print(event["type"], flush=True)
        """,
    )
    wait_until(lambda: "2" in source.lines(), "it is held back")
    time.sleep(0.3)
    assert ["1", "2"] == source.lines()
    area.stop("source")
    assert 0 == source.wait()
    assert "STOP" == source.lines()[-1]
