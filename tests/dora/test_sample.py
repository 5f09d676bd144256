"""Outputs filled in place, over shared memory and over a layer that has none to lend."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dora.communication.base import Layer, Subscription
from dora.communication.memory import MemoryLayer
from dora.communication.shm.layer import ShmLayer
from dora.sample import Draft, Sample, SampleHandler, bytes_of, size_of
from tests.dora.communication.suite import ROUTE, receive, settle

MIB = 1 << 20


@pytest.fixture(params=["shm", "memory", "both"])
def layers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Layer]]:
    shm, memory = ShmLayer(str(tmp_path), limit=8 * MIB, chunk=MIB), MemoryLayer()
    yield {"shm": [shm], "memory": [memory], "both": [memory, shm]}[request.param]
    shm.close()


@pytest.fixture
def output(layers: list[Layer]) -> Output:
    return Output(layers)


class Output:
    """One output over all of the layers, and a subscription in each."""

    def __init__(self, layers: list[Layer]) -> None:
        self.publishers = [layer.publish(ROUTE) for layer in layers]
        self.subscriptions: list[Subscription] = [
            layer.subscribe(ROUTE, 10, "drop_oldest") for layer in layers
        ]
        for publisher, subscription in zip(self.publishers, self.subscriptions, strict=True):
            settle(publisher, subscription)

    def sample(self, shape: tuple[int, ...], dtype: str = "uint8") -> Sample:
        shape, form = size_of(None, shape, dtype)
        return Sample(Draft(self.publishers, bytes_of(shape, form)), shape, form, {"k": 1})

    def handler(self, nbytes: int) -> SampleHandler:
        return SampleHandler(Draft(self.publishers, nbytes), {"k": 1})

    def received(self) -> list[object]:
        messages = [receive(subscription) for subscription in self.subscriptions]
        assert all(message.metadata == {"k": 1} for message in messages)
        return [message.value().to_pylist() for message in messages]

    def nothing_came(self) -> bool:
        return all(subscription.receive() is None for subscription in self.subscriptions)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32"])
def test_an_array_arrives_as_it_was_filled(output: Output, dtype: str) -> None:
    """Flat, with its type, sent at the end of the block."""
    with output.sample((20, 300), dtype) as sample:
        sample.array[:] = np.arange(6000).reshape(20, 300) % 200
    expected = [number % 200 for number in range(6000)]
    assert [expected] * len(output.subscriptions) == output.received()


def test_a_block_that_raises_sends_nothing(output: Output) -> None:
    """What was allocated is given back."""
    for _ in range(20):  # many times what there is
        sample = output.sample((MIB,))
        with pytest.raises(ZeroDivisionError), sample:
            raise ZeroDivisionError
    assert output.nothing_came()


def test_a_sample_is_sent_once(output: Output) -> None:
    """Then it can be neither sent again nor written to."""
    sample = output.sample((8,))
    sample.view[:] = b"12345678"
    sample.send()
    with pytest.raises(RuntimeError, match="already sent"):
        sample.send()
    with pytest.raises(RuntimeError, match="already sent"):
        sample.array  # noqa: B018
    assert [list(b"12345678")] * len(output.subscriptions) == output.received()


def test_what_the_program_still_looks_at_is_not_used_again(output: Output) -> None:
    """A view outlives the sending; other messages go elsewhere meanwhile."""
    sample = output.sample((MIB // 2,))
    view = sample.array
    view[:] = 7
    sample.send()
    output.received()
    for _ in range(20):
        output.publishers[-1].send(np.zeros(MIB // 2, np.uint8), {"k": 1}, 0)
        receive(output.subscriptions[-1])
    assert (view == 7).all()


@pytest.mark.parametrize(
    ("nbytes", "shape", "dtype"),
    [
        (None, None, "uint8"),
        (1, 1, "uint8"),
        (None, -1, "uint8"),
        (None, (2, 1.5), "uint8"),
        (None, 3, "complex64"),
        (None, 3, "timestamp[s]"),
        (None, 3, "date32"),
        (None, 3, np.dtype("U3")),
    ],
)
def test_sizes_that_cannot_be_are_refused(nbytes: object, shape: object, dtype: object) -> None:
    """Before anything is allocated."""
    with pytest.raises(ValueError, match=r"shape|dtype"):
        size_of(nbytes, shape, dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32")])
def test_types_have_numpys_names(dtype: object) -> None:
    """As text, as a class or as a dtype."""
    assert ((3,), "float32") == size_of(None, 3, dtype)


def test_the_handler_gives_one_buffer_and_many_views(output: Output) -> None:
    """As dora's does; what was written through them arrives."""
    handler = output.handler(4)
    assert handler.as_buffer() is handler.as_buffer()
    assert handler.as_memoryview() is not handler.as_memoryview()
    handler.as_buffer()[:2] = b"ab"
    handler.as_memoryview()[2:] = b"cd"
    handler.send()
    assert [list(b"abcd")] * len(output.subscriptions) == output.received()


@pytest.mark.parametrize(
    "look",
    [
        lambda handler: handler.as_memoryview(),
        lambda handler: memoryview(handler.as_buffer()),
        lambda handler: handler.as_buffer()[1:],
        lambda handler: np.frombuffer(handler.as_buffer(), np.uint8),
        lambda handler: np.frombuffer(handler.as_memoryview(), np.uint8)[2:],
    ],
)
def test_the_handler_is_not_sent_under_open_views(output: Output, look: object) -> None:
    """Once they are gone it is."""
    handler = output.handler(4)
    handler.as_buffer()[:] = b"abcd"
    view = look(handler)  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="open views"):
        handler.send()
    assert output.nothing_came()
    del view
    gc.collect()
    handler.send()
    assert [list(b"abcd")] * len(output.subscriptions) == output.received()


def test_the_handler_is_sent_by_its_block_once(output: Output) -> None:
    """A second time, and any use afterwards, is an error."""
    with output.handler(2) as buffer:
        buffer[:] = b"xy"
    handler = output.handler(2)
    with handler as buffer:
        buffer[:] = b"xy"
    for use in (handler.send, handler.as_buffer, handler.as_memoryview):
        with pytest.raises(RuntimeError, match="already sent"):
            use()
    with pytest.raises(ValueError, match="released"):
        memoryview(buffer)
    assert [list(b"xy")] * len(output.subscriptions) == output.received()


def test_the_handler_stays_sendable_when_its_block_raises(output: Output) -> None:
    """It is up to the program then."""
    handler = output.handler(2)
    handler.as_buffer()[:] = b"xy"
    with pytest.raises(ZeroDivisionError), handler:
        raise ZeroDivisionError
    assert output.nothing_came()
    handler.send()
    assert [list(b"xy")] * len(output.subscriptions) == output.received()
