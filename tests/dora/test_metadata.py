"""What may stand in a message's metadata, and how it travels."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.metadata import from_json, normalise, to_json, utc

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (-(2**63), -(2**63)),
        (1.0, 1.0),
        ("text", "text"),
        ([1, 2], [1, 2]),
        ((1.5, 2), [1.5, 2.0]),
        (["a"], ["a"]),
        ([], []),
        (NOON, NOON),
        (NOON.astimezone(timezone(timedelta(hours=2))), NOON),
        (np.float64(1.5), 1.5),
    ],
)
def test_kept_values_arrive_with_their_type(value: Any, expected: Any) -> None:
    """int and float stay apart, and datetimes are datetimes."""
    back = from_json(to_json(normalise({"key": value})))["key"]
    assert (expected, type(expected)) == (back, type(back))


@pytest.mark.parametrize("value", [None, {"a": 1}, b"x", [[1]], [True], np.int64(1)])
def test_other_values_become_text_with_a_warning(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As existing programs know it."""
    with caplog.at_level(logging.WARNING, "dora"):
        assert {"key": str(value)} == normalise({"key": value})
    assert ["WARNING"] == [record.levelname for record in caplog.records]


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"k": 2**63}, OverflowError),
        ({"k": [1, 2.5]}, TypeError),
        ({"k": ["a", 1]}, TypeError),
        ({1: "x"}, RuntimeError),
        ("text", TypeError),
        ([("a", 1)], TypeError),
    ],
)
def test_bad_metadata_is_refused(metadata: Any, error: type[Exception]) -> None:
    """Each with the error that existing programs know."""
    with pytest.raises(error):
        normalise(metadata)


@given(
    st.dictionaries(
        st.text(),
        st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.datetimes(timezones=st.just(UTC))
        | st.lists(st.text()),
    )
)
def test_any_metadata_survives_its_text(metadata: dict[str, Any]) -> None:
    """Whatever the keys and values are."""
    assert metadata == from_json(to_json(normalise(metadata)))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"1",
        b"\xff",
        b'{"a":null}',
        b'{"a":{"b":1}}',
        b'{"a":[[1]]}',
        b"[" * 100_000,
        b'{"a":{"$datetime":"x"}}',
        b'{"a":{"$datetime":1e300}}',
    ],
)
def test_text_that_is_no_metadata_is_refused(text: bytes) -> None:
    """A faulty peer gets no further than a ValueError."""
    with pytest.raises(ValueError, match="metadata"):
        from_json(text)


def test_a_timestamp_keeps_its_microseconds() -> None:
    """No detour over floats."""
    nanoseconds = (NOON - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert NOON == utc(nanoseconds + 999)
