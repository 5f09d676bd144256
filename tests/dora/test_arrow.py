"""Values survive the way through bytes; what a faulty peer sends does no harm."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dora.arrow import IPC, WIDTHS, decode, encode, to_arrow

UTC = datetime.UTC
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def round_trip(array: Any) -> Any:
    form, buffer = encode(array)
    return decode(form, bytes(memoryview(buffer)))


def dense_union() -> pa.Array:
    types = pa.array([0, 1, 0, 1, 1] * 30, pa.int8())
    offsets = pa.array([i // 2 for i in range(150)], pa.int32())
    numbers = pa.array(range(150))
    return pa.UnionArray.from_dense(types, offsets, [numbers, pa.array(["x"] * 150)])


FIXED = {
    "bool": pa.array([True, False, None]),
    "bool slice": pa.array([True, False, True, True] * 5)[3:9],
    "half": pa.array(np.array([1.5, 2.5], np.float16)),
    "null": pa.nulls(3),
    "empty null": pa.nulls(0),
    "string": pa.array(["a", None, "ü"]),
    "large string": pa.array(["a", None], pa.large_string()),
    "string view": pa.array(["a" * 40, None, "b"], pa.string_view()),
    "binary": pa.array([b"a", None]),
    "fixed binary": pa.array([b"ab", None], pa.binary(2)),
    "date32": pa.array([datetime.date(2026, 1, 2)]),
    "date64": pa.array([datetime.date(2026, 1, 2)], pa.date64()),
    "time32": pa.array([datetime.time(1, 2, 3)], pa.time32("s")),
    "time64": pa.array([datetime.time(1, 2, 3)], pa.time64("ns")),
    "timestamp tz": pa.array([NOW, None], pa.timestamp("us", "Europe/Berlin")),
    "timestamp": pa.array([1000, 2000], pa.timestamp("ns")),
    "duration": pa.array([1, 2], pa.duration("ms")),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
    "decimal128": pa.array([decimal.Decimal("1.5")]),
    "decimal256": pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 3)),
    "list": pa.array([[1, 2], None, []]),
    "large list": pa.array([[1, 2], None], pa.large_list(pa.int8())),
    "fixed list": pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    "list view": pa.array([[1, 2], None], pa.list_view(pa.int8())),
    "struct": pa.array([{"a": 1, "b": "x"}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["a", "b", "a", None]).dictionary_encode(),
    "dictionary slice": pa.array(["a", "b", "a", "c"]).dictionary_encode()[1:3],
    "nested dictionary": pa.array([["a", "b"], ["a"]], pa.list_(pa.dictionary(pa.int8(), "str"))),
    "sparse union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
    ),
    "dense union": dense_union(),
    "dense union slice": dense_union()[7:40],
    "run end encoded": pa.RunEndEncodedArray.from_arrays([2, 5], ["a", "b"]),
    "int slice": pa.array(range(100))[7:31],
    "int nulls": pa.array([1, None, 3]),
    "nulls sliced away": pa.array([None, 1, 2, 3])[1:],
    "struct slice": pa.array([{"a": i} for i in range(9)])[2:5],
    "five MB": pa.array(np.arange(650_000)),
    "uuid": pa.array([b"0123456789abcdef"], pa.uuid()),
}


@pytest.mark.parametrize("array", FIXED.values(), ids=FIXED.keys())
def test_every_arrow_type_comes_back_equal(array: pa.Array) -> None:
    """Type and values are the same, and so are those of the empty array of that type."""
    for case in (array, array[:0]):
        back = round_trip(case)
        back.validate(full=True)
        assert (case.type, case.to_pylist()) == (back.type, back.to_pylist())


@pytest.mark.parametrize("form", WIDTHS)
def test_plain_forms_carry_their_elements_only(form: str) -> None:
    """A fixed-width array without nulls is as many bytes as its elements have."""
    name, _, unit = form.rstrip("]").partition("[")
    kind = getattr(pa, name)(*([unit] if unit else []))
    day = 86_400_000 if form == "date64" else 1
    array = pa.array([day, 2 * day, 3 * day], pa.int64()).cast(
        {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}[WIDTHS[form]]
    )
    array = array.view(kind) if kind != pa.float16() else pa.array(np.ones(3, np.float16))
    sent = encode(array[1:])
    assert (form, 2 * WIDTHS[form]) == (sent.form, len(sent.buffer))
    assert array[1:].equals(decode(*sent))


leaf = st.one_of(
    st.tuples(st.just(pa.int32()), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(pa.float64()), st.floats(allow_nan=False)),
    st.tuples(st.just(pa.string()), st.text(max_size=5)),
    st.tuples(st.just(pa.bool_()), st.booleans()),
)


@st.composite
def arrays(draw: Any) -> pa.Array:
    kind, _ = draw(leaf)
    values = {
        pa.int32(): st.integers(-(2**31), 2**31 - 1),
        pa.float64(): st.floats(allow_nan=False),
        pa.string(): st.text(max_size=5),
        pa.bool_(): st.booleans(),
    }[kind]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            kind, values = pa.list_(kind), st.lists(st.none() | values, max_size=3)
        else:
            kind = pa.struct([("f", kind)])
            values = st.fixed_dictionaries({"f": st.none() | values})
    array = pa.array(draw(st.lists(st.none() | values, max_size=12)), kind)
    start = draw(st.integers(0, len(array)))
    return array[start : draw(st.integers(start, len(array)))]


@settings(max_examples=150)
@given(arrays())
def test_any_nesting_slicing_and_nulls_come_back_equal(array: pa.Array) -> None:
    """Whatever the array is made of."""
    back = round_trip(array)
    back.validate(full=True)
    assert (array.type, array.to_pylist()) == (back.type, back.to_pylist())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"ab", pa.array([97, 98], pa.uint8())),
        (bytearray(b"ab"), pa.array([97, 98], pa.uint8())),
        (memoryview(b"abcd")[::2], pa.array([97, 99], pa.uint8())),
        (memoryview(b"\1\0\2\0").cast("h"), pa.array([1, 2], pa.int16())),
        (memoryview(b"\1\0").cast("?"), pa.array([True, False])),
        (np.array([1.5, 2.5], np.float32), pa.array([1.5, 2.5], pa.float32())),
        (np.arange(6, dtype=np.int64)[::2], pa.array([0, 2, 4])),
        (np.array([1, 2], ">i4"), pa.array([1, 2], pa.int32())),
        (np.array([1, 2], np.float16), pa.array(np.array([1, 2], np.float16))),
        (np.array([True, False]), pa.array([True, False])),
        (np.array(["a", "b"]), pa.array(["a", "b"])),
        (np.array([], np.uint8), pa.array([], pa.uint8())),
        (b"", pa.array([], pa.uint8())),
    ],
)
def test_buffers_arrive_as_the_array_of_their_element_type(value: Any, expected: pa.Array) -> None:
    """bytes, bytearray, memoryview and numpy arrays are taken as they are."""
    assert expected.equals(to_arrow(value))


@pytest.mark.parametrize(
    "value",
    [
        "text",
        1,
        1.5,
        None,
        [1],
        (1,),
        {"a": 1},
        np.float64(1),
        pa.scalar(1),
        pa.chunked_array([[1]]),
        pa.table({"a": [1]}),
        pa.py_buffer(b"x"),
        np.zeros((2, 2)),
        np.array([object()]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused_with_what_to_do(value: Any) -> None:
    """Nothing is converted silently."""
    with pytest.raises(TypeError, match=r"Arrow|ravel"):
        encode(value)


GOOD = bytes(encode(pa.array(["some", "text", None])).buffer)


@pytest.mark.parametrize(
    ("form", "buffer"),
    [
        ("int64", b"1234567"),
        ("object", b""),
        ("", b""),
        ("x" * 1000, b""),
        (IPC, b""),
        (IPC, b"garbage" * 20),
        (IPC, GOOD[:-100]),
        (IPC, GOOD[:100]),
    ],
)
def test_damaged_values_give_a_clear_error(form: str, buffer: bytes) -> None:
    """Never a crash, and never another kind of exception."""
    with pytest.raises(ValueError, match=r"Arrow|form|number"):
        decode(form, buffer)


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_found_or_harmless(position: int, byte: int) -> None:
    """Offsets that point outside are found before somebody follows them."""
    damaged = GOOD[:position] + bytes([byte]) + GOOD[position + 1 :]
    try:
        decode(IPC, damaged).to_pylist()
    except ValueError:
        pass  # found (UnicodeDecodeError is one too)


def test_sending_bytes_loads_no_arrow() -> None:
    """A node that only sends bytes or numpy arrays does not pay for pyarrow."""
    program = (
        "import sys, dora.arrow as a; a.encode(b'x'); assert 'numpy' not in sys.modules\n"
        "import numpy; a.encode(numpy.zeros(3)); assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
