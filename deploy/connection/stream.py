"""What every kind of channel is made of: bytes that arrived, and room for bytes to send. Laptop.

No I/O here: a transport's callbacks feed these, a channel's coroutines wait on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.errors import MachineError

HIGH_WATER = 1024 * 1024  # unread bytes at which the sender is asked to wait
PIECE = 256 * 1024  # what is handed to a transport at a time
STDERR_TAIL = 4096  # bytes of a command's complaints that are kept
STDERR_MOST = 16 * 1024 * 1024  # the same where they are what was asked for
# Bytes that may arrive before the end of a line, or of all that is waited for: more than a store
# or a supervisor says at once, and what a machine that never comes to an end may cost us.
MOST = 256 * 1024 * 1024


def _nothing() -> None:
    """For transports that need not be told."""


class Inbox:
    """Bytes that arrived from `machine` and are not read yet, then the end of the stream.

    The end is either clean or an error; both come after everything that arrived before.
    """

    def __init__(
        self,
        machine: str,
        pause: Callable[[], None] = _nothing,
        resume: Callable[[], None] = _nothing,
        *,
        most: int = MOST,
    ) -> None:
        self._machine = machine
        self._most = most
        self._data = bytearray()
        self._pause = pause
        self._resume = resume
        self._paused = False
        self._greedy = False
        self._ended = False
        self._error: MachineError | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        end = f", ended: {self._error or 'clean'}" if self._ended else ""
        return f"<Inbox of {len(self._data)} bytes{end}>"

    @property
    def ended(self) -> bool:
        return self._ended

    def feed(self, data: bytes) -> None:
        if self._ended:
            return
        self._data += data
        if len(self._data) > HIGH_WATER and not (self._paused or self._greedy):
            self._paused = True
            self._pause()
        self._wake()

    def end(self, error: MachineError | None = None) -> None:
        """No more will arrive. Later calls change nothing."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    async def read(self, limit: int) -> bytes:
        """At least one byte and at most `limit`; b"" at a clean end. Raises the end's error."""
        while not self._data:
            if self._ended:
                return self._at_end()
            await self._wait()
        return self._take(limit)

    async def readline(self) -> bytes:
        """A line with its newline, or what is left at a clean end. Raises the end's error, and
        MachineError for a line that is too long."""
        searched = 0
        with self._greed():
            while (found := self._data.find(b"\n", searched)) < 0:
                if self._ended:
                    return self._at_end() if self._error else self._take(len(self._data))
                searched = len(self._data)
                await self._more()
        return self._take(found + 1)

    async def read_all(self) -> bytes:
        """Everything up to a clean end. Raises the end's error, and MachineError if it is too
        much."""
        with self._greed():
            while not self._ended:
                await self._more()
        return self._at_end() if self._error else self._take(len(self._data))

    async def _more(self) -> None:
        """Waits for more than there is, for who needs it at once. Raises MachineError when that is
        too much already, and from then on."""
        if len(self._data) > self._most:
            size = self._most // 1_000_000
            self._data.clear()
            self.end(MachineError(self._machine, f"said more than {size} MB without an end"))
            self._at_end()
        await self._wait()

    async def room(self) -> None:
        """Returns when the reader has caught up, or nobody reads any more."""
        while len(self._data) > HIGH_WATER and not (self._ended or self._greedy):
            await self._wait()

    @contextmanager
    def _greed(self) -> Iterator[None]:
        """Whoever needs the end of a line, or of everything, needs more than the high water."""
        self._greedy = True
        self._go_on()
        try:
            yield
        finally:
            self._greedy = False

    def _at_end(self) -> bytes:
        if self._error is not None:
            raise self._error
        return b""

    def _take(self, size: int) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[:size]
        if len(self._data) <= HIGH_WATER // 2:
            self._go_on()
        return taken

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()  # may feed us before it returns
        self._wake()

    async def _wait(self) -> None:
        event = self._changed
        await event.wait()

    def _wake(self) -> None:
        # Each wait has its own event, so that no waiter can eat another's wake-up.
        self._changed.set()
        self._changed = asyncio.Event()


class Gate:
    """Room for bytes to send: closed while the transport's buffer is overfull."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def pause_writing(self) -> None:
        self._open.clear()

    def resume_writing(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        await self._open.wait()


class Tail:
    """The last bytes of a stream that nobody reads unless something goes wrong."""

    def __init__(self, limit: int = STDERR_TAIL) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self._limit:  # not each time: that copies all of it
            del self._data[: -self._limit]

    @property
    def text(self) -> str:
        return self._data[-self._limit :].decode(errors="replace")
