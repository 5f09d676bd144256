"""What nodes, operators, inputs and outputs may be called. Pure; laptop only."""

from __future__ import annotations

import re

from deploy.document import name

_DATA = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]*\Z")


def node_id(value: object) -> str:
    """dora's rule, and short enough for file names. Raises ValueError that completes "must be"."""
    id = name(value)
    if id == "dora":
        raise ValueError("another word: `dora` is where timers and logs come from")
    return id


def data_id(value: str) -> str:
    """Names of inputs and outputs may have segments, separated by `/`."""
    if not all(_DATA.match(segment) for segment in value.split("/")):
        raise ValueError(
            "made of the characters a-z A-Z 0-9 _ . - and /, no part of it beginning with ."
        )
    return value
