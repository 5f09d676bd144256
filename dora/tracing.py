"""Whether messages are traced. Node (>= 3.10); imports nothing.

Traces are OpenTelemetry's. They are on where its own variables ask for them
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/), and in programs
that have set up a tracer provider themselves. What is imported for that is in `dora.spans`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dora.spans import Spans

logger = logging.getLogger("dora")

REQUIREMENTS = ("opentelemetry-sdk>=1.20", "opentelemetry-exporter-otlp-proto-http>=1.20")
DISABLED = "OTEL_SDK_DISABLED"
EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def exporters(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the environment asks for; () for none. Naming an endpoint is asking for OTLP."""
    if environ.get(DISABLED, "").strip().lower() == "true":
        return ()
    named = environ.get(EXPORTER, "").strip()
    if not named:
        return ("otlp",) if any(environ.get(name) for name in ENDPOINTS) else ()
    found = tuple(name.strip().lower() for name in named.split(","))
    return tuple(name for name in found if name not in ("", "none"))


def spans(node: str, dataflow: str) -> Spans | None:
    """What makes a node's spans; None, at no cost, where nobody asks for them. What is asked for
    and cannot be had is told in the log."""
    wanted = exporters(os.environ)
    if not wanted and not _provided():
        return None
    try:
        from dora.spans import Spans, provider
    except ImportError as error:
        logger.warning(
            "no traces, although $%s or an OTLP endpoint asks for them: %s; add %s to the node's "
            "requirements",
            EXPORTER,
            error,
            " and ".join(REQUIREMENTS),
        )
        return None
    return Spans(node, dataflow, provider(node, dataflow, wanted))


def _provided() -> bool:
    """Whether the program has a tracer provider of its own."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or os.environ.get(DISABLED, "").strip().lower() == "true":
        return False
    return not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)
