"""Shared memory that a program fills in place: a message without any copy. Node (>= 3.10)."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from dora.communication.shm.allocator import Slot


class _Never:
    def __getitem__(self, slot: int) -> int:
        return 0


class Hold:
    """Holds a slot for as long as anything looks at `memory`: the program's own views, too."""

    released: Any = _Never()

    def __init__(self, memory: Any) -> None:
        self.alive = True
        self._memory = weakref.ref(memory, self._expire)

    def _expire(self, _: object) -> None:
        # In any thread, inside of the garbage collector: the allocator finds out by itself.
        self.alive = False


class Loan:
    """`nbytes` of shared memory to write to, until `send`; what is dropped unsent is given back.

    Views may outlive `send`, but must not be written to any more: readers look at the same memory.
    """

    def __init__(
        self,
        slot: Slot,
        nbytes: int,
        post: Callable[[Loan, str, Mapping[str, Any], int], None],
    ) -> None:
        chunk: Any = slot.chunk
        self.slot = slot
        self.nbytes = nbytes
        self.sent = False
        self.memory = (ctypes.c_ubyte * nbytes).from_buffer(chunk.map, slot.start)
        self._post = post

    def __repr__(self) -> str:
        return f"<Loan of {self.nbytes} bytes{', sent' if self.sent else ''}>"

    def view(self) -> memoryview:
        """A new writable view of the bytes."""
        return memoryview(self.memory).cast("B")

    def send(self, metadata: Mapping[str, Any], timestamp: int, form: str = "uint8") -> None:
        """Sends it as an array of `form` (see `dora.arrow.WIDTHS`). Raises RuntimeError the second
        time, ValueError if the bytes are no whole number of such elements."""
        if self.sent:
            raise RuntimeError("this memory was already sent")
        self._post(self, form, metadata, timestamp)
        self.sent = True
