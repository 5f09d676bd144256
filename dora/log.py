"""What a node logs: one JSON object per line on stdout. Node (>= 3.10)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dora.metadata import UTC

LEVELS = ("error", "warn", "info", "debug", "trace")

_PATCHED = "_dora_patched"


def write_line(
    node: str, level: str, message: str, target: str | None, fields: Mapping[str, str] | None
) -> None:
    """An unknown level is taken as info."""
    name = level.lower()
    entry: dict[str, Any] = {
        "timestamp": datetime.now(UTC).isoformat(),
        "level": name if name in LEVELS else "info",
        "node_id": node,
        "message": message,
    }
    if target is not None:
        entry["target"] = target
    if fields:
        entry["fields"] = {str(key): str(value) for key, value in fields.items()}
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


class NodeHandler(logging.Handler):
    """Turns the records of `logging` into a node's log lines."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = _level(record.levelno)
            write_line(self._node, level, self.format(record), record.name, None)
        except Exception:  # what logging's own handlers do: a log line never ends the program
            self.handleError(record)


def patch_basic_config(node: str) -> None:
    """`logging.basicConfig` without a destination logs as the node does, at every level.

    Nothing is attached until somebody calls it, or a root-level function such as `logging.info`.
    """
    if hasattr(logging.basicConfig, _PATCHED):
        return
    original = logging.basicConfig

    def basic_config(**options: Any) -> None:
        if not {"handlers", "stream", "filename"} & options.keys():
            handler = NodeHandler(node)
            options = {"handlers": [handler], "level": logging.NOTSET, "format": "%(message)s"} | (
                options
            )
        original(**options)

    setattr(basic_config, _PATCHED, True)
    logging.basicConfig = basic_config


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    if number >= logging.INFO:
        return "info"
    return "debug" if number >= logging.DEBUG else "trace"
