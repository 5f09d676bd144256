"""Traces of messages: contexts go from process to process, spans where OpenTelemetry's environment
says, and nothing at all happens where it says nothing."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dora.protocol.tracing import CONTEXT, from_text, to_text
from dora.tracing import exporters
from tests.dora.harness import Playground, playground
from tests.scenarios.fleet import Fleet, write_flow

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"

# A program with a tracer provider of its own; its spans are printed at the end.
PROVIDED = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
from dora import Node

def told():
    for span in memory.get_finished_spans():
        print(json.dumps({
            "name": span.name,
            "kind": span.kind.name,
            "trace": format(span.context.trace_id, "032x"),
            "id": format(span.context.span_id, "016x"),
            "parent": span.parent and format(span.parent.span_id, "016x"),
            "attributes": dict(span.attributes),
        }), flush=True)
"""


@pytest.fixture
def area() -> Iterator[Playground]:
    with playground() as area:
        area.layer = "shm"
        yield area


def spans_of(lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """By their names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line.startswith('{"name"'):
            span = json.loads(line)
            found.setdefault(span["name"], []).append(span)
    return found


def test_a_message_that_came_is_the_parent_of_what_is_sent_while_it_is_handled(
    area: Playground,
) -> None:
    """Over two processes, in all ways of sending and receiving; the program's own spans are in
    between; what is sent for no message begins a trace of its own."""
    area.node("first", {"back": "second/answer"}, ("number",))
    area.node("second", {"n": "first/number"}, ("answer",))
    second = area.start(
        "second",
        PROVIDED
        + """
node = Node()
tracer = trace.get_tracer("mine")
for event in node:
    if event["type"] != "INPUT":
        continue
    with tracer.start_as_current_span("work"):
        node.send_output("answer", event["value"], event["metadata"])
    if event["metadata"]["last"]:
        break
    with node.send_output_raw("answer", 3) as buffer:
        buffer[:] = b"raw"
node.next(0)
told()
""",
    )
    first = area.start(
        "first",
        PROVIDED
        + """
import abc, asyncio
class Mine(Node, metaclass=abc.ABCMeta):
    pass
node = Mine()
assert isinstance(node, Mine)
node.send_output("number", b"x", {"last": False})
assert [120] == node.next()["value"].to_pylist()
assert b"raw" == bytes(asyncio.run(node.recv_async())["value"].to_pylist())
node.send_output("number", b"y", {"last": True})
event = node.next()
print("context", event["metadata"]["open_telemetry_context"])
node.next(0)
told()
""",
    )
    assert (0, 0) == (first.wait(), second.wait()), first.text() + second.text()
    there, here = spans_of(first.lines()), spans_of(second.lines())

    sent, answered = there["send number"], here["process n"]
    assert [it["id"] for it in sent] == [it["parent"] for it in answered]
    assert [it["trace"] for it in sent] == [it["trace"] for it in answered]
    work, back = here["work"], here["send answer"]
    assert [it["id"] for it in answered] == [it["parent"] for it in work]
    assert [work[0]["id"], answered[0]["id"], work[1]["id"]] == [it["parent"] for it in back]
    came = there["process back"]
    assert [it["id"] for it in back] == [it["parent"] for it in came]
    # the first begins a trace, the second was sent while the raw answer was handled
    assert [None, came[1]["id"]] == [it["parent"] for it in sent]
    assert 1 == len({it["trace"] for it in [*sent, *answered, *work, *back, *came]})
    assert ("PRODUCER", "CONSUMER") == (sent[0]["kind"], answered[0]["kind"])
    assert {
        "messaging.system": "dora",
        "messaging.operation.type": "process",
        "messaging.destination.name": "n",
        "dora.dataflow": "flow",
        "dora.node": "second",
    } == answered[0]["attributes"]
    expected = f"context traceparent:00-{back[2]['trace']}-{back[2]['id']}-"
    assert expected in first.text()


def test_nothing_is_loaded_where_nobody_asks(area: Playground) -> None:
    """Neither OpenTelemetry nor anything of ours that needs it, and Node is Node."""
    area.node("source", outputs=("number",))
    source = area.start(
        "source",
        """
        import sys
        from dora import Node
        node = Node()
        node.send_output("number", b"x")
        ours = [it for it in sys.modules if it.split(".")[0] in ("dora", "opentelemetry")]
        print(type(node) is Node, [it for it in ours if "trac" in it or "telemetry" in it])
        """,
    )
    assert 0 == source.wait()
    assert ["True ['dora.tracing']"] == source.lines()


def test_a_node_without_the_packages_says_so_and_goes_on(area: Playground) -> None:
    """It was asked for traces; its messages matter more."""
    (area.folder / "opentelemetry").mkdir()
    broken = "raise ImportError('it is not here')"
    (area.folder / "opentelemetry/__init__.py").write_text(broken)
    area.node("source", outputs=("number",))
    source = area.start(
        "source",
        "from dora import Node\nNode().send_output('number', b'x')\nprint('went on')",
        env={OTLP: "http://127.0.0.1:1"},
    )
    assert 0 == source.wait()
    assert "went on" in source.text()
    assert "no traces, although" in source.text()
    assert "add opentelemetry-sdk>=1.20 and" in source.text()


def test_a_collector_that_is_not_there_holds_nobody_up(area: Playground) -> None:
    """A node whose spans nobody takes ends in time: sooner than it would be killed."""
    area.node("source", outputs=("number",))
    source = area.start(
        "source",
        "from dora import Node\nNode().send_output('number', b'x')\nprint('done', flush=True)",
        env={OTLP: "http://127.0.0.1:1"},
    )
    source.wait_for("done")
    assert 0 == source.wait(8)  # of the 10 s after which it would be told to die


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP endpoint, and what came to it."""
    came: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert "/v1/traces" == self.path
            came.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


COUNT = """
from dora import Node
node = Node()
for i in range(3):
    node.send_output("n", b"x")
"""
PASS_ON = """
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("n", dora_event["value"])
        return DoraStatus.CONTINUE
"""
AWAIT = """
import asyncio
from dora import DoraStatus
class Operator:
    async def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            await asyncio.sleep(0.01)
            send_output("n", dora_event["value"], {"k": 1})
        return DoraStatus.CONTINUE
"""
SHOW = """
from dora import Node
for event in Node():
    print(event["type"])
"""
FLOW = """\
nodes:
  - {id: count, path: count.py, outputs: [n]}
  - id: rt
    operators:
      - {id: one, python: pass.py, inputs: {n: count/n}, outputs: [n]}
      - {id: two, python: await.py, inputs: {n: rt/one/n}, outputs: [n]}
  - {id: show, path: show.py, inputs: {n: rt/two/n}}
"""


def test_spans_of_nodes_and_operators_are_exported_as_one_trace(tmp_path: Path) -> None:
    """By OTLP, as the environment of `dora run` says: from a node through two operators of a
    runtime, one of which awaits, to another node."""
    laptop = Fleet(tmp_path, tmp_path / "machines.yml", cache=tmp_path / "cache")
    files = {"count.py": COUNT, "pass.py": PASS_ON, "await.py": AWAIT, "show.py": SHOW}
    path = write_flow(laptop.home / "flow", files, FLOW)
    with collector() as (endpoint, came):
        done = subprocess.run(
            laptop.command("run", path, "--json"),
            env={**laptop.env, OTLP: endpoint},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert 0 == done.returncode, done.stdout + done.stderr
    spans: dict[bytes, tuple[str, str, Any]] = {}
    for resource in (it for request in came for it in request.resource_spans):
        who = {it.key: it.value.string_value for it in resource.resource.attributes}
        assert "flow" == who["service.namespace"]
        for span in (it for scope in resource.scope_spans for it in scope.spans):
            place = {it.key: it.value.string_value for it in span.attributes}
            spans[span.span_id] = (
                who["service.name"],
                f"{place.get('dora.operator', '')} {span.name}",
                span,
            )
    chains = set()
    for service, name, span in spans.values():
        if service != "show":
            continue
        chain = [f"{service}{name}"]
        while span.parent_span_id:
            service, name, span = spans[span.parent_span_id]
            chain.append(f"{service} {name}".replace("  ", " "))
        chains.add((span.trace_id, tuple(chain)))
    assert 3 == len(chains)
    assert {
        (
            "show process n",
            "rt two send n",
            "rt two process n",
            "rt one send n",
            "rt one process n",
            "count send n",
        )
    } == {chain for _, chain in chains}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ()),
        ({OTLP: "http://collector:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ("otlp",)),
        ({OTLP: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({OTLP: "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp", "console")),
    ],
)
def test_the_environment_decides_as_opentelemetry_defines_it(
    environ: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Which exporters there are to be."""
    assert expected == exporters(environ)


def test_a_context_is_written_as_dora_does_and_read_in_either_form() -> None:
    """Baggage does not travel; what is no context is none."""
    carrier = {"traceparent": PARENT, "tracestate": "a=b:c", "baggage": "secret=1"}
    text = f"traceparent:{PARENT};tracestate:a=b:c;"
    assert text == to_text(carrier)
    assert {"traceparent": PARENT, "tracestate": "a=b:c"} == from_text(text)
    assert {"traceparent": PARENT} == from_text(PARENT)
    assert {} == from_text(None) == from_text("baggage:secret=1;")
    assert "open_telemetry_context" == CONTEXT
