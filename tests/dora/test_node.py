"""Nodes as users write them: real processes, a real router, real shared memory."""

from __future__ import annotations

import json
import signal

import pytest

from dora.protocol.config import InputConfig
from tests.dora.harness import RECORD, Playground, events, wait_until
from tests.dora.hearing import ear

SEND_THREE = """
    import pyarrow as pa
    from dora import Node
    node = Node()
    for number in range(3):
        node.send_output("number", pa.array([number]))
"""


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
    """However a producer ends, it ends at once with its own status, and its outputs close; unless
    it left of its own will, it has failed."""
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
    assert status == source.wait()
    assert said in source.text()
    assert 0 == sink.wait()
    failed = ["NODE_FAILED"] if status not in (0, 3) else []
    expected = ["INPUT", *failed, "INPUT_CLOSED", "STOP"]
    assert expected == [event["type"] for event in events(sink)]


def test_a_burst_before_the_end_arrives_whole(area: Playground) -> None:
    """Whatever was sent before the process ended is delivered, to the last message."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": InputConfig("source/number", area.layer, queue_size=10_000)})
    sink = area.start("sink", RECORD)
    area.start(
        "source",
        """
        import pyarrow as pa
        from dora import Node
        node = Node()
        for number in range(200):
            node.send_output("number", pa.array([number]))
        """,
    )
    sink.wait()
    expected = [[number] for number in range(200)]
    assert expected == [event["value"] for event in events(sink) if event["type"] == "INPUT"]


def test_outside_of_a_dataflow_the_node_says_so_at_once(area: Playground) -> None:
    """With what to do, whatever id the program gives."""
    process = area.program(
        "alone",
        ["-c", "from dora import Node; Node('camera')"],
        {"DORA_NODE_CONFIG": ""},
        ready=False,
    )
    assert 1 == process.wait()
    assert "RuntimeError: not part of a dataflow" in process.text()
    assert "dora run" in process.text()


def test_timers_tick_at_once_and_then_periodically(area: Playground) -> None:
    """With an empty value, and only the time as metadata."""
    timer = InputConfig("dora/timer/millis/20", "timer", interval=20_000_000)
    area.node("clock", {"tick": timer})
    clock = area.start(
        "clock",
        """
        import time
        from dora import Node
        started = time.monotonic()
        node = Node()
        for count in range(5):
            event = node.next()
            assert event["type"] == "INPUT" and event["id"] == "tick", event
            assert list(event["metadata"]) == ["timestamp"] and len(event["value"]) == 0
        assert time.monotonic() - started > 0.07
        """,
    )
    assert 0 == clock.wait(), clock.text()


def test_a_stop_request_reaches_a_waiting_node(area: Playground) -> None:
    """It gets STOP, its stream ends, and its readers are left alone: it may be replaced."""
    area.node("source", {"tick": InputConfig("dora/timer/secs/60", "timer", interval=60 * 10**9)})
    area.node("source", {}, outputs=("number",))
    area.node("sink", {"n": "source/number"})
    sink = area.start("sink", RECORD)
    source = area.start("source", RECORD)
    area.stop("source")
    assert 0 == source.wait()
    assert [{"type": "STOP", "id": "MANUAL"}] == events(source)
    source = area.start("source", SEND_THREE)
    assert (0, 0) == (source.wait(), sink.wait())
    assert ["INPUT"] * 3 + ["INPUT_CLOSED", "STOP"] == [event["type"] for event in events(sink)]


# A program that computes while messages come.
AWAKE = """
import os, time
from dora import Node
node = Node()
while not os.path.exists("awake"):
    time.sleep(0.01)
"""


def test_a_slow_consumer_gets_the_latest(area: Playground) -> None:
    """Queue size 1: whatever else came meanwhile is dropped."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": InputConfig("source/number", area.layer, queue_size=1)})
    with ear(area, "sink") as heard:
        sink = area.start(
            "sink",
            AWAKE
            + """
print(node.next()["value"][0], flush=True)
print(node.next()["type"], flush=True)
""",
            env=heard.env,
            ready=False,
        )
        area.start(
            "source",
            """
            import pyarrow as pa
            from dora import Node
            node = Node()
            for number in range(50):
                node.send_output("number", pa.array([number]))
            """,
        )
        wait_until(lambda: heard.traffic().dropped == 49, "all but the last are dropped")
        (area.folder / "awake").touch()
        assert 0 == sink.wait()
    assert ["49", "INPUT_CLOSED"] == sink.lines()


def test_no_input_starves_another(area: Playground) -> None:
    """A flooded input takes turns with the others; both wait, and each has lost some."""
    area.node("flood", outputs=("x",))
    area.node("drip", outputs=("x",))
    area.node(
        "sink",
        {
            "flood": InputConfig("flood/x", area.layer, queue_size=400),
            "drip": InputConfig("drip/x", area.layer, queue_size=20),
        },
    )
    send = "from dora import Node\nnode = Node()\nfor _ in range({}): node.send_output('x', b'')\n"
    with ear(area, "sink") as heard:
        sink = area.start(
            "sink",
            AWAKE
            + """
print("".join(event["id"][0] for event in node if event["type"] == "INPUT"), flush=True)
""",
            env=heard.env,
            ready=False,
        )
        flood = area.start("flood", send.format(410))
        drip = area.start("drip", send.format(25))
        wait_until(lambda: heard.traffic().dropped == 15, "all that was sent to wait")
        (area.folder / "awake").touch()
        assert (0, 0, 0) == (flood.wait(), drip.wait(), sink.wait())
    order = sink.text()
    assert (400, 20) == (order.count("f"), order.count("d"))
    assert "d" * 20 == order[:41].replace("f", "")


API = """
    import json, logging, sys, threading
    import numpy as np
    import pyarrow as pa
    from datetime import datetime, timezone
    from dora import DoraStatus, Node

    def raises(error, function, *args):
        try:
            function(*args)
        except error as caught:
            return str(caught)
        raise AssertionError(f"{function} {args} raised nothing")

    node = Node()
    assert node.try_recv() is None and node.drain() == [] and node.is_empty()
    assert node.next(timeout=0.01)["type"] == "ERROR"
    assert node.next(0)["error"].startswith("Timeout event stream error: Receiver timed out")
    raises(ValueError, node.next, -1)
    raises(ValueError, node.next, float("nan"))
    assert node.dataflow_id() == "0190-test"
    assert node.dataflow_descriptor() == {"nodes": ["described"]}
    assert node.node_config()["inputs"]["me"]["source"] == "self/out"
    assert node.node_config()["outputs"] == ["out"]
    assert (node.restart_count(), node.is_restart()) == (2, True)
    assert abs((node.timestamp() - datetime.now(timezone.utc)).total_seconds()) < 60
    for bad in ("text", 1, None, [1], {"a": 1}, pa.scalar(1), np.zeros((2, 2))):
        assert "out" in raises(RuntimeError, node.send_output, "out", bad)
    raises(TypeError, node.send_output, 1, b"")
    raises(TypeError, node.send_output, "out")
    raises(TypeError, node.send_output, "out", b"", "metadata")
    raises(RuntimeError, node.send_output, "", b"")
    raises(RuntimeError, node.send_output, "a b", b"")
    node.send_output("undeclared", b"")
    node.log("info", "said", target="here", fields={"a": "b"})
    node.log_error("bad")
    logging.info("logged")
    request = node.send_service_request("out", b"question")
    metadata = node.next(30)["metadata"]
    assert metadata["request_id"] == request and metadata["timestamp"].tzinfo is not None
    given = datetime(2020, 1, 1, tzinfo=timezone.utc)
    node.send_service_response("out", b"", {"request_id": request, "timestamp": given})
    assert node.next(30)["metadata"] == {"request_id": request, "timestamp": given}
    # One thread waits while another sends.
    threading.Timer(0.2, lambda: node.send_output(output_id="out", data=np.arange(3))).start()
    event = node.next()
    assert event["value"].equals(pa.array([0, 1, 2])) and not node.is_empty() is False
    assert DoraStatus.STOP.value == 1
    print("fine", flush=True)
"""


def test_the_methods_of_a_node_do_what_existing_programs_expect(area: Playground) -> None:
    """Results, errors and log lines; the node reads its own output."""
    area.descriptor = {"nodes": ["described"]}
    area.node("self", {"me": "self/out"}, outputs=("out",))
    process = area.start("self", API, env={"DEPLOY_RESTARTS": "2"})
    assert 0 == process.wait(), process.text()
    assert "fine" in process.lines()
    logged = [json.loads(line) for line in process.lines() if line.startswith("{")]
    assert ["warn", "info", "error", "info"] == [line["level"] for line in logged]
    assert "'undeclared' is not in the node's output list (out)" in logged[0]["message"]
    assert ("said", "here", {"a": "b"}, "self") == tuple(
        logged[1][key] for key in ("message", "target", "fields", "node_id")
    )
    assert ("logged", "root") == (logged[3]["message"], logged[3]["target"])


def test_a_node_can_be_awaited(area: Playground) -> None:
    """Other tasks go on, timers tick, timeouts are events, and the end is None."""
    timer = InputConfig("dora/timer/millis/50", "timer", interval=50_000_000)
    area.node("source", outputs=("number",))
    area.node("sink", {"n": "source/number"})
    area.node("clock", {"tick": timer})
    clock = area.start(
        "clock",
        """
        import asyncio
        from dora import Node
        node = Node()
        async def main():
            turns = 0
            async def other():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.001)
            task = asyncio.create_task(other())
            for ticks in range(1000):
                assert (await node.recv_async())["id"] == "tick"
                if ticks > 3 and turns > 10:
                    break
            assert turns > 10
            while (event := await node.recv_async(timeout=0.001))["type"] == "INPUT":
                pass  # another tick: it was time for it
            assert event["type"] == "ERROR"
        asyncio.run(main())
        """,
    )
    sink = area.start(
        "sink",
        """
        import asyncio
        from dora import Node
        async def main():
            node = Node()
            found = []
            while (event := await node.recv_async()) is not None:
                found.append(event["type"])
            assert await node.recv_async() is None
            try:
                node.drain()
            except RuntimeError:
                found.append("ended")
            print(*found, flush=True)
        asyncio.run(main())
        """,
    )
    area.start("source", SEND_THREE)
    assert (0, 0) == (clock.wait(), sink.wait()), clock.text() + sink.text()
    assert ["INPUT INPUT INPUT INPUT_CLOSED STOP ended"] == sink.lines()


def test_a_silent_input_closes_and_recovers(area: Playground) -> None:
    """After its timeout, and with its next message."""
    area.node("source", outputs=("number",))
    area.node("sink", {"n": InputConfig("source/number", area.layer, timeout=0.3)})
    sink = area.start("sink", RECORD)
    area.start(
        "source",
        """
        import os, time
        from dora import Node
        node = Node()
        node.send_output("number", b"")
        while not os.path.exists("silent"):
            time.sleep(0.01)
        node.send_output("number", b"")
        """,
    )

    def heard() -> list[str]:
        return [event["type"] for event in events(sink)]

    wait_until(lambda: heard()[-2:] == ["INPUT", "INPUT_CLOSED"], "the silence")
    (area.folder / "silent").touch()
    assert 0 == sink.wait()
    expected = ["INPUT", "INPUT_CLOSED", "INPUT_RECOVERED", "INPUT", "INPUT_CLOSED", "STOP"]
    # On a busy machine the source may start later than the timeout.
    assert heard() in (expected, ["INPUT_CLOSED", "INPUT_RECOVERED", *expected])
