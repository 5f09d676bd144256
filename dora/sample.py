"""Outputs that a program fills in place: no copy where readers share its memory. Node (>= 3.10)."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dora import arrow
from dora.communication.base import Publisher

if TYPE_CHECKING:
    from dora.communication.shm.loan import Loan


class Draft:
    """Memory for one message of an output: shared where one of its publishers has it to lend."""

    def __init__(
        self,
        publishers: Sequence[Publisher],
        nbytes: int,
        sent: Callable[[], None] | None = None,  # called once the message is out
    ) -> None:
        self.nbytes = nbytes
        self._sent = sent
        self._publishers = publishers
        self._lender: Publisher | None = None
        self._loan: Loan | None = None
        for publisher in publishers:
            lend: Any = getattr(publisher, "allocate", None)
            if lend is not None and (loan := lend(nbytes)) is not None:
                self._lender, self._loan = publisher, loan
                break
        self.memory: Any = (ctypes.c_ubyte * nbytes)() if self._loan is None else self._loan.memory

    def view(self) -> memoryview:
        """A new writable view of all bytes."""
        return memoryview(self.memory).cast("B")

    def send(self, form: str, metadata: Mapping[str, Any]) -> None:
        """As an array of the form's type. Raises ValueError if the bytes do not fit that."""
        timestamp = time.time_ns()
        for publisher in self._publishers:
            if publisher is self._lender and self._loan is not None:
                self._loan.send(metadata, timestamp, form)
            else:
                publisher.send(arrow.decode(form, self.view()), metadata, timestamp)
        if self._sent is not None:
            self._sent()


class Sample:
    """What `Node.allocate_output` gives: fill `array` (or `view`), then `send`.

    As a context manager it is sent at the end of the block, unless that raises. What was sent must
    not be written to any more: readers look at the same memory.
    """

    def __init__(
        self,
        draft: Draft,
        shape: tuple[int, ...],
        form: str,
        metadata: Mapping[str, Any],
    ) -> None:
        self._draft: Draft | None = draft
        self._shape = shape
        self._form = form
        self._metadata = metadata

    def __repr__(self) -> str:
        return f"<Sample of {self._shape} {self._form}, {'open' if self._draft else 'sent'}>"

    @property
    def view(self) -> memoryview:
        """The bytes, to write to. Raises RuntimeError once it was sent."""
        return self._open().view()

    @property
    def array(self) -> Any:
        """A numpy array of the shape and type that were asked for. Raises like `view`."""
        import numpy

        return numpy.frombuffer(self._open().view(), self._form).reshape(self._shape)

    def send(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Readers get a flat array. `metadata` replaces what was given before."""
        draft = self._open()
        draft.send(self._form, self._metadata if metadata is None else metadata)
        self._draft = None

    def __enter__(self) -> Sample:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._draft is not None:
            self.send()

    def _open(self) -> Draft:
        if self._draft is None:
            raise RuntimeError("this sample was already sent")
        return self._draft


class SampleHandler:
    """What dora's `send_output_raw` gives: bytes to fill, which arrive as a uint8 array.

    It can only be sent while nobody but the handler itself has a view of the bytes.
    """

    def __init__(self, draft: Draft, metadata: Mapping[str, Any]) -> None:
        self._draft: Draft | None = draft
        self._metadata = metadata
        self._buffer = draft.view()
        # Views of views all share one hidden object, the managed buffer: who has a view has a
        # reference to it, or to the memory.
        self._managed = gc.get_referents(self._buffer)
        self._references = self._count(draft)

    def __repr__(self) -> str:
        return f"<SampleHandler, {'open' if self._draft else 'sent'}>"

    def as_buffer(self) -> memoryview:
        """The bytes, always the same object. Raises RuntimeError once they were sent."""
        self._open()
        return self._buffer

    def as_memoryview(self) -> memoryview:
        """A new view. Raises RuntimeError once the bytes were sent."""
        return self._open().view()

    def send(self) -> None:
        """Raises RuntimeError the second time, or while there are open views."""
        draft = self._open()
        if self._count(draft) > self._references:
            raise RuntimeError("there are open views of this sample; release them before send()")
        try:
            self._buffer.release()
        except BufferError as error:
            raise RuntimeError(
                f"there are open views of this sample; release them before send(): {error}"
            ) from error
        draft.send("uint8", self._metadata)
        self._draft = None

    def __enter__(self) -> memoryview:
        return self.as_buffer()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._draft is not None:
            self.send()

    def _open(self) -> Draft:
        if self._draft is None:
            raise RuntimeError("this sample was already sent")
        return self._draft

    def _count(self, draft: Draft) -> int:
        return sys.getrefcount(draft.memory) + sum(sys.getrefcount(m) for m in self._managed)


def size_of(
    nbytes: int | None, shape: int | Sequence[int] | None, dtype: Any
) -> tuple[tuple[int, ...], str]:
    """Shape and form of a sample that is asked for in either way.

    Raises ValueError for sizes and types that cannot be.
    """
    if (nbytes is None) == (shape is None):
        raise ValueError("give either nbytes, or shape and dtype")
    if shape is None:
        assert nbytes is not None
        shape = nbytes
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for size in sizes:
        if type(size) is not int or size < 0:
            raise ValueError(f"a shape of {shape!r}")
    form = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or dtype.__name__
    if form not in arrow.WIDTHS or "[" in form or form.startswith("date"):
        raise ValueError(f"dtype is {dtype!r}; it must be a numpy integer or float type")
    return sizes, form


def bytes_of(shape: tuple[int, ...], form: str) -> int:
    return math.prod(shape) * arrow.WIDTHS[form]
