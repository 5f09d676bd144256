"""A node whose messages are traced: in the place of its own class, so that others pay nothing.

A message is handled from when the program gets it until it asks for the next event. Node (>= 3.10).
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context

from dora.event import Event
from dora.sample import Draft
from dora.spans import Spans

if TYPE_CHECKING:
    from dora.node import Node

    Base = Node
else:
    Base = object


def trace(node: Node, spans: Spans) -> None:
    """From now on the node's messages have spans."""
    kind = type(node)
    metaclass: Any = type(kind)
    made = metaclass(kind.__name__, (Traced, kind), {"__module__": kind.__module__})
    node.__class__ = made
    node.__dict__.update(_spans=spans, _handled=None)
    atexit.register(_rest, weakref.ref(node))  # before the provider's: it was there first


class Traced(Base):
    _spans: Spans
    _handled: Span | None

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Event:
        self._rest()
        return self._handle(super().__next__())

    def next(self, timeout: float | None = None) -> Event | None:
        self._rest()
        return self._took(super().next(timeout))

    async def recv_async(self, timeout: float | None = None) -> Event | None:
        self._rest()
        return self._took(await super().recv_async(timeout))

    def try_recv(self) -> Event | None:
        self._rest()
        return self._took(super().try_recv())

    def drain(self) -> list[Event]:
        """Of several at once it is the last that is handled."""
        self._rest()
        return [self._handle(event) for event in super().drain()]

    def send_output(
        self, output_id: str, data: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        if not isinstance(output_id, str) or not isinstance(metadata, (dict, type(None))):
            super().send_output(output_id, data, metadata)  # which says what is wrong with it
            return
        with self._spans.sending(output_id, metadata, self._handled) as sent:
            super().send_output(output_id, data, sent)

    def _draft(self, output: str, nbytes: int) -> Draft:
        draft = super()._draft(output, nbytes)
        setattr(draft, "send", self._sending(output, draft.send))  # noqa: B010  # as it is no method
        return draft

    def _sending(
        self, output: str, send: Callable[[str, Mapping[str, Any]], None]
    ) -> Callable[[str, Mapping[str, Any]], None]:
        def traced(form: str, metadata: Mapping[str, Any]) -> None:
            with self._spans.sending(output, metadata, self._handled) as sent:
                send(form, sent)

        return traced

    def _took(self, event: Event | None) -> Event | None:
        return None if event is None else self._handle(event)

    def _handle(self, event: Event) -> Event:
        if event["type"] == "INPUT":
            self._rest()
            self._handled = span = self._spans.handling(event["id"], event["metadata"])
            # The program's own spans belong to it. Nothing is detached: that may only be done
            # where it was attached, and programs ask for events in more than one task.
            context.attach(set_span_in_context(span, Context()))
        return event

    def _rest(self) -> None:
        """What was handled is done."""
        if self._handled is not None:
            self._handled.end()
            self._handled = None
            context.attach(Context())


def _rest(node: weakref.ref[Any]) -> None:
    left = node()
    if left is not None:
        left._rest()
