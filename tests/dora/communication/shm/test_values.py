"""Values of every type through shared memory, and what the memory holds them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from dora.arrow import WIDTHS
from dora.communication.base import Publisher, Subscription
from dora.communication.shm.layer import ShmLayer
from dora.communication.shm.values import PLAIN
from tests.dora.communication.suite import ROUTE, T, receive, settle
from tests.dora.test_arrow import FIXED, arrays

Pair = tuple[Publisher, Subscription]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    layer = ShmLayer(str(tmp_path_factory.mktemp("shm")))
    publisher = layer.publish(ROUTE)
    subscription = layer.subscribe(ROUTE, 10, "drop_oldest")
    settle(publisher, subscription)
    yield publisher, subscription
    layer.close()


def round_trip(pair: Pair, value: Any) -> pa.Array:
    publisher, subscription = pair
    publisher.send(value, {}, T)
    array = receive(subscription).value()
    array.validate(full=True)
    return array


def long(array: pa.Array) -> pa.Array:
    """Too much for a batch with a cached schema."""
    count = 50_000 // max(array.nbytes, 1) + 2
    try:
        return pa.concat_arrays([array] * min(count, 50_000))
    except pa.ArrowNotImplementedError:  # run ends cannot be concatenated everywhere
        return array


@pytest.mark.parametrize("array", FIXED.values(), ids=FIXED.keys())
def test_every_arrow_type_comes_back_equal(pair: Pair, array: pa.Array) -> None:
    """Short, empty and long, each twice: the second time the schema is known."""
    for case in (array, array[:0], long(array)) * 2:
        back = round_trip(pair, case)
        assert (case.type, case.to_pylist()) == (back.type, back.to_pylist())


@settings(max_examples=100)
@given(array=arrays())
def test_any_nesting_slicing_and_nulls_come_back_equal(pair: Pair, array: pa.Array) -> None:
    """Whatever the array is made of."""
    back = round_trip(pair, array)
    assert (array.type, array.to_pylist()) == (back.type, back.to_pylist())


@pytest.mark.parametrize(
    "value",
    [
        np.arange(10, dtype=">i4"),
        np.arange(20)[::2],
        np.zeros(0),
        np.array([True, False]),
        np.array([1.5, 2.5], np.float16),
        np.array(["2026-01-01"], "datetime64[s]"),
        np.arange(200_000)[1::3],
        np.arange(500_000, dtype=np.float32),
    ],
    ids=str,
)
def test_numpy_arrays_of_any_layout_arrive(pair: Pair, value: Any) -> None:
    """Foreign byte order, strides, emptiness, types that Arrow lays out differently; twice."""
    for _ in range(2):
        assert value.tolist() == round_trip(pair, value).to_numpy(zero_copy_only=False).tolist()


def test_large_values_are_not_copied_by_the_reader(pair: Pair) -> None:
    """Their buffers lie in the shared memory, at the place that the next message uses again."""
    value = np.arange(100_000)
    first = round_trip(pair, value).buffers()[1].address
    assert first == round_trip(pair, value).buffers()[1].address


def test_what_is_looked_at_is_not_used_again(pair: Pair) -> None:
    """A slice, a numpy view of a slice and a slot of a list are enough to keep it."""
    kept = [
        round_trip(pair, np.full(10_000, 1))[5000:],
        round_trip(pair, np.full(10_000, 2)).to_numpy()[::7],
        round_trip(pair, pa.array([[3] * 10_000])).flatten()[9_000:],
        memoryview(round_trip(pair, np.full(10_000, 4)).buffers()[1]).cast("q")[10:],
    ]
    for number in range(20):
        round_trip(pair, np.full(10_000, 100 + number))
        round_trip(pair, pa.array([[200] * 10_000]))
    assert [{1}, {2}, {3}, {4}] == [
        set(k.to_pylist() if isinstance(k, pa.Array) else k.tolist()) for k in kept
    ]


def test_received_arrays_cannot_be_written_to(pair: Pair) -> None:
    """Others look at the same memory."""
    view = round_trip(pair, np.arange(10_000)).to_numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_a_value_that_nobody_looks_at_gives_its_place_back(pair: Pair) -> None:
    """Decoding is not needed for that."""
    publisher, subscription = pair
    for number in range(50):
        publisher.send(np.full(1_000_000, number), {}, T)
        receive(subscription)
    assert [49] * 3 == round_trip(pair, np.full(1_000_000, 49)).to_pylist()[:3]


def test_the_numbers_of_plain_forms_are_what_processes_agree_on() -> None:
    """New ones go to the end: nodes of different versions may share a machine."""
    expected = (
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "date32", "date64"),
        *("time32[s]", "time32[ms]", "time64[us]", "time64[ns]"),
        *("timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]"),
        *("duration[s]", "duration[ms]", "duration[us]", "duration[ns]"),
    )
    assert expected == PLAIN == tuple(WIDTHS)
