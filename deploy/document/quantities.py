"""Durations, sizes, core lists and names as people write them -> plain values. Laptop only.

Each function takes what YAML gave and raises ValueError whose text completes "it must be ...", so
that a schema can use it as a coercion and the reader gets a whole sentence.
"""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)\Z")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\Z", re.IGNORECASE)
_BYTES = {
    prefix + binary: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for binary, base in (("", 1000), ("i", 1024))
}
_BANDWIDTH = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGkmg]?)\s*(bit|B)(?:/s)?\Z")
_CORES = re.compile(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?\Z")
_CORE_LIMIT = 1024  # CPU_SETSIZE: what one affinity mask can name
_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,62}\Z")


def duration(value: object) -> float:
    """Seconds, from a number of seconds or text with a unit: us, ms, s, m, h, d."""
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        return float(match[1]) * _SECONDS[match[2]]
    if _is_number(value) and 0 <= float(value) < math.inf:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise ValueError("a duration such as 20ms, 2s or 1m, or a number of seconds")


def size(value: object) -> int:
    """Bytes, from a number of bytes or text with a unit: KB is 1000 bytes, KiB is 1024."""
    if isinstance(value, str) and (match := _SIZE.match(value.strip())):
        return int(float(match[1]) * _BYTES.get((match[2] or "").lower(), 1))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a size such as 512MiB, 1GB or 100KB, or a number of bytes")


def bandwidth(value: object) -> float:
    """Bytes a second, from text with a unit: `100Mbit` and `1Gbit` count bits, `12.5MB` bytes."""
    if isinstance(value, str) and (match := _BANDWIDTH.match(value.strip())):
        found = float(match[1]) * 1000.0 ** " kmg".index(match[2].lower() or " ")
        if found > 0:
            return found if match[3] == "B" else found / 8
    raise ValueError("a speed such as 100Mbit, 1Gbit or 12.5MB, all of them a second")


def core_list(value: object) -> tuple[int, ...]:
    """Core numbers in ascending order, from `2-7`, `0,4-6`, one number, or a list of numbers."""
    problem = ValueError(f"cores such as 2-7, 0,2 or [0, 1], each below {_CORE_LIMIT}")
    if isinstance(value, bool) or not isinstance(value, int | str | list) or value in ("", []):
        raise problem
    parts = (
        value.split(",")
        if isinstance(value, str)
        else value
        if isinstance(value, list)
        else [value]
    )
    cores: set[int] = set()
    for part in parts:
        match = None if isinstance(part, bool) else _CORES.match(str(part))
        if not match:
            raise problem
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= _CORE_LIMIT:
            raise problem
        cores.update(range(first, last + 1))
    return tuple(sorted(cores))


def text(value: object) -> str:
    """Text; a number is taken as it would be written."""
    if isinstance(value, str):
        return value
    if _is_number(value):
        return number_text(value)  # type: ignore[arg-type]
    raise ValueError("text")


def flag_text(value: object) -> str:
    """Text, a number, or a YAML boolean as `true` or `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return text(value)
    except ValueError:
        raise ValueError("text, a number, or true or false") from None


def name(value: object) -> str:
    """What machines, deployments and nodes may be called: it becomes file names and routes."""
    candidate = text(value)
    if not _NAME.match(candidate):
        raise ValueError(
            "1 to 63 of the characters a-z A-Z 0-9 _ . -, beginning with a letter, a digit or _"
        )
    return candidate


def number_text(value: int | float) -> str:
    """`value` in digits, without exponent: 1e3 is `1000`."""
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value == int(value) else repr(value)
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
