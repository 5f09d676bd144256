"""Nodes that start late, die, come back, hang or fork, and what the others see."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.dora.harness import RECORD, Playground, events, wait_until

SEND_THREE = """
    import pyarrow as pa
    from dora import Node
    node = Node()
    for number in range(3):
        node.send_output("number", pa.array([number]))
"""


def test_a_stop_request_ends_the_start_barrier(area: Playground) -> None:
    """Nobody waits for readers that never come when told to leave."""
    area.node("source", outputs=("number",), barrier=1000)
    area.node("sink", {"n": "source/number"})
    source = area.start("source", RECORD)
    area.stop("source")
    assert 0 == source.wait()
    assert [{"type": "STOP", "id": "MANUAL"}] == events(source)


def test_without_its_readers_a_node_starts_late_and_says_whom_it_missed(area: Playground) -> None:
    """The barrier is bounded."""
    area.node("source", outputs=("number",), barrier=0.3)
    area.node("sink", {"n": "source/number"})
    source = area.start("source", SEND_THREE)
    assert 0 == source.wait()
    assert "sink" in source.text()


def test_a_killed_producer_comes_back_to_its_readers(area: Playground) -> None:
    """With a restart policy its outputs stay open, and data flows again."""
    area.node("source", outputs=("number",), restart="on-failure")
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    first = area.start("source", SEND_THREE + "    import time; time.sleep(600)\n")
    wait_until(lambda: len(events(sink)) == 3, "the first three")
    first.signal(signal.SIGKILL)
    first.wait()
    again = area.start("source", SEND_THREE, env={"DEPLOY_RESTARTS": "1"})
    assert (0, 0) == (again.wait(), sink.wait())
    three = ["INPUT"] * 3
    expected = [*three, "NODE_RESTARTED", *three, "INPUT_CLOSED", "STOP"]
    assert expected == [event["type"] for event in events(sink)]


def test_a_killed_consumer_comes_back_to_its_producer(area: Playground) -> None:
    """The producer does not notice."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"}, restart="always")
    sink = area.start("sink", RECORD)
    area.start(
        "source",
        """
        import time
        from dora import Node
        node = Node()
        for number in range(100_000):
            node.send_output("number", b"x")
            time.sleep(0.01)
        """,
    )
    wait_until(lambda: len(events(sink)) > 3, "data")
    sink.signal(signal.SIGKILL)
    sink.wait()
    sink = area.start("sink", RECORD)
    wait_until(lambda: len(events(sink)) > 3, "data again")


def test_a_reader_that_starts_after_the_end_is_told(area: Playground) -> None:
    """Rather than wait for ever for a producer that has finished."""
    area.node("source", outputs=("number",), barrier=0)
    area.node("sink", {"n": "source/number"})
    assert 0 == area.start("source", SEND_THREE).wait()
    sink = area.start("sink", RECORD)
    assert 0 == sink.wait()
    assert ["INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)]


def test_a_new_generation_is_not_told_of_the_past(area: Playground) -> None:
    """A reader of the same dataflow, deployed again, waits for its producer to start again."""
    area.node("source", outputs=("number",), barrier=0)
    area.node("sink", {"n": "source/number"})
    assert 0 == area.start("source", SEND_THREE).wait()
    told = area.start("sink", RECORD)
    assert 0 == told.wait()
    area.node("source", outputs=("number",))  # which writes the document anew
    sink = area.start("sink", RECORD)
    time.sleep(3)  # in which the router would have repeated itself
    assert [] == events(sink)
    area.start("source", SEND_THREE)
    assert 0 == sink.wait()
    assert ["INPUT"] * 3 == [event["type"] for event in events(sink)][:3]


def test_a_hung_node_is_not_taken_for_dead(area: Playground) -> None:
    """Its inputs and outputs go on when it does, even after its link was given up."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start("source", SEND_THREE + "    node.next()\n")
    wait_until(lambda: len(events(sink)) == 3, "the first three")
    source.signal(signal.SIGSTOP)
    # The link is given up after 2 s; a dead node's outputs would close 1 s later.
    time.sleep(4)
    assert 3 == len(events(sink))
    source.signal(signal.SIGCONT)
    source.signal(signal.SIGKILL)
    assert 0 == sink.wait()


def test_a_node_can_be_dropped_and_made_again(area: Playground) -> None:
    """Its readers are told, and hear it again."""
    area.node("source", outputs=("number",))
    area.node("other", outputs=("number",))
    area.node("sink", {"n": "source/number", "o": "other/number"})
    sink = area.start("sink", RECORD)
    other = area.start("other", "from dora import Node\nNode().next()\n")
    source = area.start(
        "source",
        """
        from dora import Node
        for number in range(2):
            node = Node()
            node.send_output("number", b"")
            del node
        """,
    )
    assert 0 == source.wait()

    def heard() -> list[str]:
        return [event["type"] for event in events(sink)]

    # A reader that was busy meanwhile sees the input closed once, at the end.
    wait_until(lambda: heard().count("INPUT") == 2 and heard()[-1] == "INPUT_CLOSED", "both nodes")
    other.kill()


def test_a_node_dies_with_its_parent(area: Playground) -> None:
    """Even one that ignores SIGTERM and never looks at its events."""
    area.node("orphan")
    parent = subprocess.Popen(["sleep", "600"])
    try:
        orphan = area.start(
            "orphan",
            """
            import signal, time
            from dora import Node
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            node = Node()
            print("up", flush=True)
            time.sleep(600)
            """,
            env={"DORA_RUN_PARENT_PID": str(parent.pid)},
        )
        orphan.wait_for("up")
    finally:
        parent.kill()
        parent.wait()
    assert -signal.SIGKILL == orphan.wait()


def test_a_forked_child_ends_without_its_parents_node(area: Playground) -> None:
    """It neither hangs nor closes what its parent still uses."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        import os, sys
        from dora import Node
        node = Node()
        node.send_output("number", b"a")
        if (child := os.fork()) == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        node.send_output("number", b"b")
        """,
    )
    assert (0, 0) == (source.wait(), sink.wait()), source.text()
    assert ["INPUT", "INPUT", "INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)]


@pytest.mark.parametrize("area", ["zenoh"], indirect=True)
def test_a_router_may_die_under_its_nodes(area: Playground) -> None:
    """They go on, and data flows again when it is back."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start(
        "source",
        """
        import time
        from dora import Node
        node = Node()
        while node.next(timeout=0.01)["type"] == "ERROR":
            node.send_output("number", b"x")
        """,
    )
    wait_until(lambda: len(events(sink)) > 3, "data")
    area.processes[0].kill()
    area.router()
    before = len(events(sink))
    wait_until(lambda: len(events(sink)) > before + 10, "data again")
    area.stop("source")
    assert 0 == source.wait()
    assert {"INPUT"} == {event["type"] for event in events(sink)}
