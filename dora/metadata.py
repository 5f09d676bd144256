"""What may stand in a message's metadata, and its text between machines. Node (>= 3.10)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

Metadata = dict[str, Any]

UTC = timezone.utc  # noqa: UP017  # datetime.UTC came after 3.10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# Messages with one of these are thrown away last when a queue is full.
PRECIOUS = frozenset({"request_id", "goal_id", "goal_status"})

_DATETIME = "$datetime"  # how JSON tells microseconds since the epoch from an int

logger = logging.getLogger("dora")


def normalise(metadata: Mapping[str, Any]) -> Metadata:
    """A copy with only what travels: bool, int, float, str, datetime, lists of int, float or str.

    Any other value becomes its text, with a warning. A naive datetime is local time and arrives in
    UTC. Raises TypeError if `metadata` is no dict or a list mixes types, RuntimeError for a key
    that is no str, OverflowError for an int of more than 64 bits.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dict, not {type(metadata).__name__}")
    result = {}
    for key, value in metadata.items():
        if type(key) is not str:
            raise RuntimeError(f"metadata keys must be str, not {type(key).__name__}: {key!r}")
        result[key] = _normalise_value(key, value)
    return result


def _normalise_value(key: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _int64(key, int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, (list, tuple)):
        return _normalise_list(key, value)
    return _as_text(key, value)


def _normalise_list(key: str, values: list[Any] | tuple[Any, ...]) -> Any:
    if not values:
        return []
    first = values[0]
    if isinstance(first, bool):
        return _as_text(key, values)
    if isinstance(first, int):
        if not all(isinstance(value, int) for value in values):
            raise TypeError(f"metadata {key!r}: a list that starts with an int must hold only ints")
        return [_int64(key, int(value)) for value in values]
    if isinstance(first, float):
        if not all(isinstance(value, (int, float)) for value in values):
            raise TypeError(f"metadata {key!r}: a list that starts with a float must hold numbers")
        return [float(value) for value in values]
    if isinstance(first, str):
        if not all(isinstance(value, str) for value in values):
            raise TypeError(f"metadata {key!r}: a list that starts with a str must hold only strs")
        return [str(value) for value in values]
    return _as_text(key, values)


def _int64(key: str, value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise OverflowError(f"metadata {key!r}: {value} does not fit into 64 bits")
    return value


def _as_text(key: str, value: Any) -> str:
    logger.warning("metadata %r: a %s is sent as text", key, type(value).__name__)
    return str(value)


def copied(metadata: Mapping[str, Any]) -> Metadata:
    """A copy of normalised metadata whose lists are its own, too."""
    if not metadata:
        return {}
    return {key: it.copy() if type(it) is list else it for key, it in metadata.items()}


def to_json(metadata: Mapping[str, Any]) -> bytes:
    """The text of normalised metadata."""
    return json.dumps(metadata, separators=(",", ":"), default=_datetime_to_json).encode()


def _datetime_to_json(value: Any) -> dict[str, int]:
    if isinstance(value, datetime):
        return {_DATETIME: (value - EPOCH) // MICROSECOND}
    raise TypeError(f"{type(value).__name__} is not normalised metadata")


def from_json(text: bytes) -> Metadata:
    """Raises ValueError on anything but `to_json`'s text."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"metadata is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"metadata is a JSON {type(data).__name__}, not an object")
    return {key: _value_from_json(value) for key, value in data.items()}


def _value_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        try:
            return EPOCH + value[_DATETIME] * MICROSECOND
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no metadata value: {str(value)[:80]}") from error
    if value is None or (isinstance(value, list) and any(_is_nested(v) for v in value)):
        raise ValueError(f"no metadata value: {str(value)[:80]}")
    return value


def _is_nested(value: Any) -> bool:
    return value is None or isinstance(value, (list, dict))


def utc(timestamp: int) -> datetime:
    """Nanoseconds since the epoch as an aware datetime (microseconds are what it can hold)."""
    return EPOCH + timedelta(microseconds=timestamp // 1000)
