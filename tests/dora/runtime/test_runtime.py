"""Runtimes as users start them: whole dataflows with operators, through the real `dora run`."""

from __future__ import annotations

from pathlib import Path

from tests.dora.runtime.flows import COUNT, PASS_ON, SHOW, ran, ran_example
from tests.scenarios.fleet import Fleet


def test_operators_stand_between_nodes(laptop: Fleet) -> None:
    """The form of 2022. Everything passes through in order; closed inputs end operators one after
    the other, without a STOP, and each is dropped; then the runtime ends."""
    lines, _ = ran(
        laptop,
        {"count.py": COUNT, "show.py": SHOW, "pass.py": PASS_ON},
        """\
communication: {zenoh: {prefix: /example}}
nodes:
  - {id: count, custom: {run: count.py, outputs: [n]}}
  - id: rt
    operators:
      - {id: op-1, python: pass.py, inputs: {n: {source: count/n, queue_size: 30}}, outputs: [n]}
      - {id: op-2, python: pass.py, inputs: {m: {source: op-1/n, queue_size: 30}}, outputs: [n]}
  - id: show
    custom: {run: show.py, inputs: {n: {source: op-2/n, queue_size: 30}}}
""",
    )

    assert [f"INPUT n [{i}]" for i in range(20)] == lines["show"][:20]
    assert ["INPUT_CLOSED n n", "STOP ALL_INPUTS_CLOSED ALL_INPUTS_CLOSED"] == lines["show"][20:]
    assert 20 == lines["rt"].count("INPUT n")
    assert 20 == lines["rt"].count("INPUT m")
    assert ["INPUT_CLOSED n", "dropped"] == [it for it in lines["rt"] if it != "INPUT m"][20:22]
    assert ["INPUT_CLOSED m", "dropped"] == lines["rt"][-2:]


def test_a_single_operator_is_as_dora_has_it(laptop: Fleet) -> None:
    """Its outputs have no operator in their name; modules, descriptor and statuses as there."""
    operator = """
import enum, sys
import helper
class Mine(enum.Enum):
    GO = 0
    END = 1
assert not hasattr(sys.modules[__name__], "Operator")
class Operator:
    def __init__(self):
        self.seen = 0
    def on_event(self, dora_event, send_output):
        if dora_event["type"] != "INPUT":
            return Mine.GO
        self.seen += 1
        if self.seen == 1:
            print(__name__, [node["id"] for node in self.dataflow_descriptor["nodes"]])
            print(sys.path[0] in ("", sys.path[0]), type(dora_event["value"]).__name__)
            send_output("nothing", b"x")
            send_output(output="n", data=helper.TEXT, metadata={"k": 1})
        return Mine.END if self.seen == 3 else Mine.GO
"""
    lines, _ = ran(
        laptop,
        {"ops/op.py": operator, "ops/helper.py": "TEXT = b'ab'\n", "show.py": SHOW},
        """\
nodes:
  - id: rt
    operator: {python: ops/op.py, inputs: {tick: dora/timer/millis/20}, outputs: [n]}
  - {id: show, path: show.py, inputs: {n: rt/n}}
""",
    )

    assert "op ['rt', 'show']" in lines["rt"]
    assert "True NullArray" in lines["rt"]
    assert any("op/nothing is not in the operator's output list (n)" in it for it in lines["rt"])
    assert ["INPUT n [97, 98]", "INPUT_CLOSED n n"] == lines["show"][:2]


def test_a_stop_is_told_to_every_operator(laptop: Fleet) -> None:
    """Each gets STOP and is dropped; one that computes in a thread or awaits is waited for."""
    operator = """
import sys
from dora import DoraStatus
class Operator:
    up = False
    {kind}def on_event(self, dora_event, send_output):
        # In one piece: the lines of two threads must not run into each other.
        if dora_event["type"] != "INPUT":
            sys.stdout.write("{name} " + dora_event["type"] + " " + dora_event["id"] + chr(10))
        elif not self.up:
            self.up = True
            sys.stdout.write("{name} up" + chr(10))
        return DoraStatus.CONTINUE
    def __del__(self):
        sys.stdout.write("{name} dropped" + chr(10))
"""
    names = {"plain": "", "thread": "", "async": "async "}
    lines, _ = ran(
        laptop,
        {f"{it}_.py": operator.format(name=it, kind=kind) for it, kind in names.items()},
        """\
nodes:
  - id: rt
    operators:
      - {id: plain, python: plain_.py, inputs: {t: dora/timer/millis/10}}
      - {id: thread, python: thread_.py, thread: true, inputs: {t: dora/timer/millis/10}}
      - {id: async, python: async_.py, inputs: {t: dora/timer/millis/10}}
""",
        until=tuple(f"{it} up" for it in names),
    )

    assert sorted(
        line for it in names for line in (f"{it} up", f"{it} STOP MANUAL", f"{it} dropped")
    ) == sorted(lines["rt"])


def test_who_has_a_thread_or_awaits_holds_nobody_up(laptop: Fleet) -> None:
    """While two operators take their time, a third one gets its ticks; then one STOP ends one
    operator, and STOP_ALL the rest."""
    slow = """
import asyncio, os, time
from dora import DoraStatus
class Operator:
    {kind}def on_event(self, dora_event, send_output):
        end = time.monotonic() + 30
        while not os.path.exists("ticked") and time.monotonic() < end:
            {wait}
        send_output("done", b"")
        return DoraStatus.STOP
"""
    quick = """
import pathlib
from dora import DoraStatus
class Operator:
    ticks, done = 0, set()
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT_CLOSED":
            self.done.add(dora_event["id"])
        self.ticks += dora_event["id"] == "tick" and not self.done
        if self.ticks > 30:
            pathlib.Path("ticked").touch()
        if self.done != {"a", "b"}:
            return DoraStatus.CONTINUE
        print("ticks", self.ticks > 30)
        return DoraStatus.STOP_ALL
"""
    lines, _ = ran(
        laptop,
        {
            "threaded.py": slow.format(kind="", wait="time.sleep(0.01)"),
            "awaits.py": slow.format(kind="async ", wait="await asyncio.sleep(0.01)"),
            "quick.py": quick,
        },
        """\
nodes:
  - id: rt
    operators:
      - {id: a, python: threaded.py, thread: true, inputs: {t: dora/timer/secs/60}, outputs: [done]}
      - {id: b, python: awaits.py, inputs: {t: dora/timer/secs/60}, outputs: [done]}
      - id: quick
        python: quick.py
        inputs: {a: a/done, b: b/done, tick: {source: dora/timer/millis/10, queue_size: 100}}
""",
    )

    assert ["ticks True"] == lines["rt"]


def test_two_thousand_operators_are_served(laptop: Fleet) -> None:
    """One file, one timer, one process: an instance each, and neither a thread nor a descriptor."""
    operator = """
import os, threading
from dora import DoraStatus
class Operator:
    served = 0
    def on_event(self, dora_event, send_output):
        Operator.served += 1
        if Operator.served == 2000:
            print("served", threading.active_count() < 6, len(os.listdir("/proc/self/fd")) < 40)
        return DoraStatus.STOP
"""
    many = "".join(
        f"      - {{id: o{i}, python: op.py, inputs: {{t: dora/timer/secs/60}}}}\n"
        for i in range(2000)
    )
    lines, _ = ran(laptop, {"op.py": operator}, "nodes:\n  - id: rt\n    operators:\n" + many)

    assert ["served True True"] == lines["rt"]


def test_values_pass_by_reference(laptop: Fleet) -> None:
    """The reader gets the very array that was sent; the metadata is its own."""
    send = """
import pyarrow as pa
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        self.array, self.metadata = pa.array([1, 2]), {"k": [1]}
        print("is", id(self.array))
        send_output("n", self.array, self.metadata)
        return DoraStatus.STOP
"""
    take = """
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            print("is", id(dora_event["value"]))
            dora_event["metadata"]["k"].append(2)
            print(sorted(dora_event["metadata"]), dora_event["metadata"]["k"])
        return DoraStatus.CONTINUE
"""
    lines, _ = ran(
        laptop,
        {"send.py": send, "take.py": take},
        """\
nodes:
  - id: rt
    operators:
      - {id: send, python: send.py, inputs: {t: dora/timer/secs/60}, outputs: [n]}
      - {id: one, python: take.py, inputs: {n: send/n}}
      - {id: two, python: take.py, inputs: {n: send/n}}
""",
    )

    own = "['k', 'timestamp'] [1, 2]"
    assert [lines["rt"][0], own, lines["rt"][0], own] == lines["rt"][1:]


def test_a_missed_deadline_can_be_told_or_skip_the_call(laptop: Fleet) -> None:
    """A neighbour that takes too long makes both late: one hears of it, the other is not called."""
    busy = """
import time
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("n", b"")
            time.sleep(0.2)
        return DoraStatus.STOP
"""
    late = """
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        print(dora_event["type"], dora_event["id"], dora_event.get("lateness", 0) > 0.1)
        return DoraStatus.CONTINUE
"""
    lines, _ = ran(
        laptop,
        {"busy.py": busy, "told.py": late, "skip.py": late.replace('"type"', '"type"')},
        """\
nodes:
  - id: rt
    scheduler: edf
    operators:
      - {id: busy, python: busy.py, budget: 50ms, inputs: {t: dora/timer/secs/60}, outputs: [n]}
      - {id: told, python: told.py, deadline: 20ms, on_deadline_miss: event, inputs: {n: busy/n}}
      - id: skip
        python: skip.py
        on_deadline_miss: skip
        inputs: {m: {source: busy/n, deadline: 20ms}}
""",
    )

    rt = lines["rt"]
    assert "DEADLINE_MISSED n True" in rt
    assert "INPUT_CLOSED m False" in rt
    assert not any("INPUT m" in it or "MISSED m" in it for it in rt)
    assert any("operator busy: a call took" in it and "budget is 50 ms" in it for it in rt)


def test_a_stop_ends_operators_that_feed_each_other(laptop: Fleet) -> None:
    """Messages that go round and round do not keep the runtime; nor do messages that wait."""
    turn = """
from dora import DoraStatus
class Operator:
    calls = 0
    async def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("n", b"again")
            self.calls += 1
            if self.calls == 100:
                print("going round")
        else:
            print(dora_event["type"])
        return DoraStatus.CONTINUE
"""
    lines, _ = ran(
        laptop,
        {"turn.py": turn},
        """\
nodes:
  - id: rt
    operators:
      - {id: a, python: turn.py, inputs: {b: b/n, t: dora/timer/secs/60}, outputs: [n]}
      - {id: b, python: turn.py, inputs: {a: a/n}, outputs: [n]}
""",
        until=("going round",),
    )

    assert ["STOP", "STOP"] == [it for it in lines["rt"] if it != "going round"]


def test_silence_and_failing_beginnings_are_told(laptop: Fleet) -> None:
    """`input_timeout` holds for operators; one whose constructor fails is tried again, in its
    thread as well; timers do not keep a flow whose nodes are to finish."""
    slow = """
from dora import Node
node = Node()
told = set()
def until(word):
    while not {("one", word), ("other", word)} <= told:
        event = node.next()
        if event["type"] == "INPUT":
            told.add((event["id"], bytes(event["value"].to_pylist())))
node.send_output("n", b"1")
until(b"silent")
node.send_output("n", b"2")
until(b"again")
"""
    takes = """
import threading
from dora import DoraStatus
class Operator:
    made = 0
    def __init__(self):
        Operator.made += 1
        if Operator.made < 3:
            raise OSError("no camera")
        print(threading.current_thread() is threading.main_thread())
        self.inputs = 0
    def on_event(self, dora_event, send_output):
        if dora_event["id"] == "n":
            print(dora_event["type"])
            self.inputs += dora_event["type"] == "INPUT"
            if (self.inputs, dora_event["type"]) == (1, "INPUT_CLOSED"):
                send_output("told", b"silent")
            elif (self.inputs, dora_event["type"]) == (2, "INPUT"):
                send_output("told", b"again")
        return DoraStatus.CONTINUE
"""
    operator = (
        "{{id: {id}, python: {file}.py, inputs: {inputs}, outputs: [told], "
        "restart_policy: on-failure{more}}}"
    )
    inputs = "{n: {source: slow/n, input_timeout: 300ms}, t: dora/timer/millis/100}"
    lines, _ = ran(
        laptop,
        {"slow.py": slow, "plain.py": takes, "threaded.py": takes},
        f"""\
exit_when_nodes_finish: true
nodes:
  - id: slow
    path: slow.py
    inputs: {{one: rt/a/told, other: threads/a/told}}
    outputs: [n]
  - id: rt
    operators:
      - {operator.format(id="a", file="plain", inputs=inputs, more="")}
  - id: threads
    operators:
      - {operator.format(id="a", file="threaded", inputs=inputs, more=", thread: true")}
""",
    )

    heard = ["INPUT", "INPUT_CLOSED", "INPUT_RECOVERED", "INPUT", "INPUT_CLOSED"]
    for node, main in (("rt", "True"), ("threads", "False")):
        assert 2 == sum("OSError: no camera" in line for line in lines[node])
        first, *others = [it for it in lines[node] if it in (main, *heard)]
        assert main == first
        # On a busy machine the first message may come later than the timeout.
        assert others in (heard, ["INPUT_CLOSED", "INPUT_RECOVERED", *heard])


def test_the_example_runs(laptop: Fleet) -> None:
    """As its README tells."""
    flow = Path(__file__).parents[3] / "examples" / "operators" / "flow.yml"

    said = ran_example(laptop, flow, until=("show cpu", "memory"))

    assert "show cpu" in said
    assert "memory" in said
