"""How the trace of a message travels in its metadata, as dora has it. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTEXT = "open_telemetry_context"
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"  # W3C's, the only ones that travel


def to_text(carrier: Mapping[str, str]) -> str:
    """As dora writes it into metadata: `traceparent:00-...;`"""
    return "".join(f"{key}:{carrier[key]};" for key in (TRACEPARENT, TRACESTATE) if key in carrier)


def from_text(text: Any) -> dict[str, str]:
    """What `to_text` made, or a bare traceparent; {} for anything else."""
    if not isinstance(text, str):
        return {}
    if ":" not in text:
        return {TRACEPARENT: text}
    pairs = (part.partition(":") for part in text.split(";") if part)
    return {key: value for key, _, value in pairs if key in (TRACEPARENT, TRACESTATE)}
