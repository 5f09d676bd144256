"""The spans of a node's messages: OpenTelemetry lives here. Node (>= 3.10), extra `tracing`.

A message that is handled is a CONSUMER span, whose parent came with the message; one that is sent
is a PRODUCER span below it, whose context goes with the message.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dora.protocol.tracing import CONTEXT, from_text, to_text

logger = logging.getLogger("dora")

LEAVE_WITHIN = 2.0  # seconds for the last spans of a process
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SERVICE, NAMESPACE = "service.name", "service.namespace"


class Spans:
    """Of one node, or of the operators of one runtime."""

    def __init__(self, node: str, dataflow: str, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("dora")
        self._propagator = TraceContextTextMapPropagator()
        self._common = {
            "messaging.system": "dora",
            "dora.dataflow": dataflow,
            "dora.node": node,
        }

    def handling(self, name: str, metadata: Mapping[str, Any], operator: str | None = None) -> Span:
        """Of a message that came to the input `name`; whoever handled it ends it."""
        carrier = from_text(metadata.get(CONTEXT))
        parent = self._propagator.extract(carrier, context=Context())
        attributes = self._attributes("process", name, operator)
        return self._tracer.start_span(
            f"process {name}", context=parent, kind=SpanKind.CONSUMER, attributes=attributes
        )

    @contextmanager
    def sending(
        self,
        output: str,
        metadata: Mapping[str, Any] | None,
        handled: Span | None,
        operator: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Gives the metadata with which a message is to be sent in this block.

        It belongs to the program's own span if there is one, else to what is handled.
        """
        current = trace.get_current_span()  # or one that is over, of a message before
        ours = current if current.is_recording() else handled
        parent = Context() if ours is None else set_span_in_context(ours, Context())
        span = self._tracer.start_span(
            f"send {output}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes=self._attributes("send", output, operator),
        )
        with trace.use_span(span, end_on_exit=True):
            yield self.sent_with(metadata, span)

    def sent_with(self, metadata: Mapping[str, Any] | None, span: Span) -> dict[str, Any]:
        """Metadata that has the span's context."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=set_span_in_context(span, Context()))
        return {**(metadata or {}), CONTEXT: to_text(carrier)}

    def _attributes(self, operation: str, name: str, operator: str | None) -> dict[str, str]:
        more = {} if operator is None else {"dora.operator": operator}
        destination = {"messaging.operation.type": operation, "messaging.destination.name": name}
        return {**self._common, **destination, **more}


def provider(node: str, dataflow: str, wanted: tuple[str, ...]) -> trace.TracerProvider:
    """The program's own if it has one; else one that exports as the environment says, which is
    the program's from then on."""
    found = trace.get_tracer_provider()
    if not isinstance(found, trace.ProxyTracerProvider):
        return found
    made = TracerProvider(resource=Resource.create(_identity(node, dataflow)))
    exporters = [it for it in map(_exporter, wanted) if it is not None]
    for exporter in exporters:
        made.add_span_processor(BatchSpanProcessor(exporter))
    if exporters:
        _leave_in_time(exporters)
    trace.set_tracer_provider(made)
    return made


def _leave_in_time(exporters: Sequence[SpanExporter]) -> None:
    """A collector that does not answer must not hold up the end of a node, which has its own time
    for that. From a thread that waits for the end: at the end itself none can be started."""
    ending = threading.Event()

    def give_up() -> None:
        ending.wait()
        time.sleep(LEAVE_WITHIN)
        for exporter in exporters:
            exporter.shutdown()

    threading.Thread(target=give_up, name="dora-traces", daemon=True).start()
    atexit.register(ending.set)  # before the provider's, which was there first


def _line(span: ReadableSpan) -> str:
    """One for the node's log."""
    return f"{span.to_json(indent=None)}\n"


def _identity(node: str, dataflow: str) -> dict[str, str]:
    """Who we are, unless the environment says something else."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    keys = {pair.partition("=")[0].strip() for pair in given.split(",")}
    if os.environ.get("OTEL_SERVICE_NAME"):
        keys.add(SERVICE)
    ours = {SERVICE: node, NAMESPACE: dataflow}
    return {key: value for key, value in ours.items() if key not in keys}


def _exporter(name: str) -> SpanExporter | None:
    """None, and a word in the log, for one that we do not know or do not have."""
    if name == "console":
        return ConsoleSpanExporter(formatter=_line)
    if name != "otlp":
        logger.warning("no traces to %r: $OTEL_TRACES_EXPORTER may be otlp, console or none", name)
        return None
    protocol = next((os.environ[it] for it in PROTOCOLS if os.environ.get(it)), "http/protobuf")
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        logger.warning("no traces by OTLP over %s: %s", protocol, error)
        return None
    exporter: SpanExporter = OTLPSpanExporter()
    return exporter
