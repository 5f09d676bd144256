"""Operators whose messages are traced: a span for each call. Node (>= 3.10), extra `tracing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry.trace import Span, use_span

from dora.runtime.base import Send
from dora.spans import Spans

MESSAGES = ("INPUT", "DEADLINE_MISSED")

OnEvent = Callable[[Mapping[str, Any], Send], Any]


class Tracing:
    """`around` goes about what an operator is called by."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def around(self, operator: str, on_event: OnEvent) -> OnEvent:
        spans = self._spans

        def traced(event: Mapping[str, Any], send: Send) -> Any:
            if event["type"] not in MESSAGES:
                return on_event(event, send)
            span = spans.handling(event["id"], event["metadata"], operator)

            def send_output(
                output: str, data: Any, metadata: Mapping[str, Any] | None = None
            ) -> None:
                if not isinstance(metadata, (dict, type(None))):
                    send(output, data, metadata)  # which says what is wrong with it
                    return
                with spans.sending(str(output), metadata, span, operator) as sent:
                    send(output, data, sent)

            try:
                with use_span(span):
                    result = on_event(event, send_output)
            except BaseException:
                span.end()
                raise
            if hasattr(result, "__await__"):
                return _awaited(result, span)
            span.end()
            return result

        return traced


async def _awaited(call: Awaitable[Any], span: Span) -> Any:
    with use_span(span, end_on_exit=True):
        return await call
