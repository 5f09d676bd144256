"""A producer's output: puts values into shared memory and says where they are. Node (>= 3.10)."""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from dora import arrow
from dora.communication.distribution import key_of
from dora.communication.header import flags_of
from dora.communication.shm.allocator import Slot
from dora.communication.shm.arena import Chunk
from dora.communication.shm.group import Group, Letter, Waits
from dora.communication.shm.loan import Hold, Loan
from dora.communication.shm.pool import Pool
from dora.communication.shm.record import DATA, PRECIOUS, TAIL
from dora.communication.shm.route import Route
from dora.communication.shm.sender import Subscriber
from dora.communication.shm.shortcut import shortcut
from dora.communication.shm.values import PLAIN_FORMS, Packed
from dora.metadata import to_json

logger = logging.getLogger("dora")

LINGER = 5.0  # s that the end of a route waits for replicas to take what is theirs
PATIENCE = 1.0  # s that a sender waits for room in a full pool, if a reader asked for backpressure

_SHORT_COPY = 64 * 1024  # up to here the lock is held while copying: to take it twice costs more
_LONG_COPY = 256 * 1024  # from here on other threads run while copying
_METADATA = 1024  # bytes behind a loan
_LOOK_AGAIN = 500  # ms; a sender that waits is woken: this is the belt to the braces
_SHARE_LOOK = 20  # ms; where what a replica left behind goes first, nobody wakes a sender
_POOL_LOOK = 0.002  # s


class ShmPublisher:
    """May be used from several threads. Does nothing once it is closed.

    `send` waits while a reader that asked for backpressure has a full queue, and for no other.
    """

    def __init__(
        self,
        pool: Pool,
        route: Route,
        finished: Callable[[], None],
        pump: Callable[[], None],
    ) -> None:
        """`finished` is called by `finish`; it may raise OSError. `pump` is to be called when
        something waits for one of several replicas."""
        self._pool = pool
        self._lock = pool.lock
        self._pack = pool.packer.pack
        self._allocate = pool.allocator.allocate
        self._route = route
        self._finished = finished
        self._pump = pump
        self.closed = False
        self.taken = 0
        self.size = 0  # bytes of the last message
        self.shortcut = shortcut(pool, route, self)

    def __repr__(self) -> str:
        route = self._route
        return (
            f"<ShmPublisher of {route.name}, {len(route.subscribers)} subscribers, "
            f"{route.refused} refused, {list(route.groups)}>"
        )

    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        """A message for which the pool has no room is dropped, counted and logged."""
        form, length, buffer, write = packed = self._pack(value)
        self.size = length
        if not self._route.subscribers or self.closed:
            if self._route.groups and not self.closed:
                self._share(packed, metadata, timestamp)
            return
        if metadata:
            text = to_json(metadata)
            flush, precious = flags_of(metadata)
        else:
            text, flush, precious = b"", False, False
        extra = len(text)
        size = length + extra
        if size > _SHORT_COPY or write is not None:
            self._send_large(packed, text, timestamp, flush, precious)
            return
        with self._lock:
            slot = self._allocate(size)
            if slot is not None:
                chunk = cast(Chunk, slot.chunk)
                start = slot.offset - chunk.offset
                if length:
                    chunk.map[start : start + length] = buffer
                if extra:
                    chunk.map[start + length : start + size] = text
                # As `_tail`, `_post` and `Allocator.post`: each step costs a message that comes
                # after a pause as much as a system call.
                flags = PRECIOUS if precious else 0
                index, generation = slot.index, slot.generation
                where = slot.offset, length, index, form, generation, extra, 0
                tail = TAIL.pack(DATA, flags, 0, timestamp, *where, chunk.first, chunk.pages)
                waiting = []
                for subscriber in self._route.subscribers:
                    if flush:
                        subscriber.flush()
                    if subscriber.room > 0 or subscriber.make_room():
                        subscriber.give(slot, tail)
                    else:
                        waiting.append(subscriber)
                if not waiting:
                    slot.bucket.sent.append(slot)
                    return
        if slot is None:
            self._send_large(packed, text, timestamp, flush, precious)
        else:
            self._wait(slot, tail, waiting)
            self._pool.release(slot)

    def finish(self, error: str | None = None) -> None:
        """With an error, readers hear it when the layer says why the node leaves."""
        self._linger()
        with self._lock:
            if self.closed:
                return
            if error is None:
                self._route.finished = True
                for subscriber in self._route.everybody:
                    subscriber.close_route(time.time_ns())
        try:
            self._finished()
        except OSError as error:
            logger.warning(
                "%s: later readers will not learn of its end: %s", self._route.name, error
            )

    def _linger(self) -> None:
        """What waits for a replica, since another one is at its key, is given before the end."""
        deadline = time.monotonic() + LINGER
        while True:
            with self._lock:
                waiting = sum(len(it.waiting) for it in self._route.groups if it.lanes)
            if not waiting or self.closed:
                return
            if time.monotonic() > deadline:
                logger.warning("%s: %d messages found no replica", self._route.name, waiting)
                return
            time.sleep(_POOL_LOOK)

    def allocate(self, nbytes: int) -> Loan | None:
        """A part of the shared memory to fill in place; None if there is no room.

        Worth it from about 400 KB on: below that a copy is quicker.
        """
        with self._lock:
            slot = None if self.closed else self._pool.allocate(nbytes + _METADATA)
            if slot is None:
                return None
            loan = Loan(slot, nbytes, self._send_loan)
            # From now on like a slot that was sent: free when its only holder is gone.
            slot.holders = (Hold(loan.memory),)
            self._pool.allocator.post(slot)
        return loan

    def close(self) -> None:
        self.closed = True

    def _send_large(
        self, packed: Packed, text: bytes, timestamp: int, flush: bool, precious: bool
    ) -> None:
        """Copies while others may use the pool; waits for memory if that is what is asked for."""
        length, extra = packed.length, len(text)
        slot = self._allocate_patiently(length + extra)
        if slot is None:
            return
        try:
            _fill(slot, packed)
            _write_behind(slot, length, text)
        except BaseException:
            self._pool.release(slot)
            raise
        tail = _tail(slot, packed.form, length, extra, timestamp, precious)
        with self._lock:
            waiting = self._post(slot, tail, flush)
        self._wait(slot, tail, waiting)
        self._pool.release(slot)

    def _send_loan(
        self, loan: Loan, form: str, metadata: Mapping[str, Any], timestamp: int
    ) -> None:
        width = arrow.WIDTHS[form]
        if loan.nbytes % width:
            raise ValueError(f"{loan.nbytes} bytes are no whole number of {form} elements")
        self.size = loan.nbytes
        if self._route.groups:
            self.send(arrow.decode(form, loan.view()), metadata, timestamp)
            return
        if not self._route.subscribers or self.closed:
            return
        slot = loan.slot
        text = to_json(metadata) if metadata else b""
        if loan.nbytes + len(text) > slot.size:  # more metadata than there is room for behind it
            self.send(arrow.decode(form, loan.view()), metadata, timestamp)
            return
        flush = precious = False
        if metadata:
            _write_behind(slot, loan.nbytes, text)
            flush, precious = flags_of(metadata)
        tail = _tail(slot, PLAIN_FORMS[form], loan.nbytes, len(text), timestamp, precious)
        with self._lock:
            waiting = self._post(slot, tail, flush)
        if waiting:
            self._wait(slot, tail, waiting)

    def _share(self, packed: Packed, metadata: Mapping[str, Any], timestamp: int) -> None:
        """Where replicas share what is sent; everybody else gets it, too."""
        text = to_json(metadata) if metadata else b""
        flush, precious = flags_of(metadata) if metadata else (False, False)
        slot = self._allocate_patiently(packed.length + len(text))
        if slot is None:
            return
        try:
            _fill(slot, packed)
            _write_behind(slot, packed.length, text)
        except BaseException:
            self._pool.release(slot)
            raise
        tail = _tail(slot, packed.form, packed.length, len(text), timestamp, precious)
        hold = Waits()
        with self._lock:
            slot.holders = (hold,)
            waiting = self._post(slot, tail, flush)
            groups = self._route.groups
        self._wait(slot, tail, waiting)
        for group in groups:
            self._give(group, Letter(slot, tail, key_of(metadata, group.key)))
        hold.alive = False
        self._pool.release(slot)

    def _give(self, group: Group, letter: Letter) -> None:
        """To one of the group; waits as long as those who asked for backpressure have no room."""
        patience = self._pool.patience
        while True:
            with self._lock:
                if self.closed or group.offer(letter):
                    waiting = bool(group.waiting)
                    break
                if patience is not None and patience.is_over():
                    group.lose()
                    return
                credits = [os.dup(lane.credit) for lane in group.lanes if lane.listening]
            poll = select.poll()
            if patience is not None:
                poll.register(patience.fd, select.POLLIN)
            for credit in credits:
                poll.register(credit, select.POLLIN)
            poll.poll(_SHARE_LOOK)
            for credit in credits:
                try:
                    os.eventfd_read(credit)
                except BlockingIOError:
                    pass  # nothing was taken there
                os.close(credit)
        if waiting:
            self._pump()

    def _post(self, slot: Slot, tail: bytes, flush: bool) -> list[Subscriber]:
        """Gives the message to all who have room, or who want their oldest dropped. The others."""
        waiting = []
        for subscriber in (*self._route.subscribers, *self._route.others):
            if flush:
                subscriber.flush()
            if subscriber.room > 0 or subscriber.make_room():
                subscriber.give(slot, tail)
            else:
                waiting.append(subscriber)
        return waiting

    def _wait(self, slot: Slot, tail: bytes, waiting: list[Subscriber]) -> None:
        """Until all have room, or are gone, or we are asked to leave: then it is lost to them."""
        patience = self._pool.patience
        for subscriber in waiting:
            poll = select.poll()
            if patience is not None:
                poll.register(patience.fd, select.POLLIN)
            with self._lock:
                if not subscriber.listening:
                    continue
                # A copy: the subscriber may go, and close its own, while we wait.
                credit = os.dup(subscriber.credit)
            poll.register(credit, select.POLLIN)
            try:
                while True:
                    with self._lock:
                        if not subscriber.listening or self.closed:
                            break
                        if subscriber.has_room():
                            subscriber.give(slot, tail)
                            break
                        if patience is not None and patience.is_over():
                            subscriber.drop()
                            break
                    poll.poll(_LOOK_AGAIN)
                    try:
                        os.eventfd_read(credit)
                    except BlockingIOError:
                        pass  # nothing was taken
            finally:
                os.close(credit)

    def _allocate_patiently(self, size: int) -> Slot | None:
        """None if there is no room: the message is lost to all of its readers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with self._lock:
                slot = self._pool.allocate(size)
                if slot is not None:
                    return slot
                route = self._route
                patient = any(subscriber.blocking for subscriber in route.everybody)
                if not patient or self.closed or time.monotonic() > deadline:
                    for subscriber in (*route.subscribers, *route.others):
                        subscriber.drop()
                    for group in route.groups:
                        group.lose()
                    route.refused += 1
                    refused = route.refused
                    break
            time.sleep(_POOL_LOOK)
        if refused & (refused - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            logger.warning(
                "%s: no shared memory for %d bytes: readers keep too much of %s; "
                "%d messages lost so far",
                route.name,
                size,
                self._pool,
                refused,
            )
        return None


def _tail(slot: Slot, form: int, length: int, extra: int, timestamp: int, precious: bool) -> bytes:
    """The record of a message, which all of its readers get; the epoch comes in front."""
    chunk: Any = slot.chunk
    return TAIL.pack(
        DATA,
        PRECIOUS if precious else 0,
        0,
        timestamp,
        slot.offset,
        length,
        slot.index,
        form,
        slot.generation,
        extra,
        0,
        chunk.first,
        chunk.pages,
    )


def _fill(slot: Slot, packed: Packed) -> None:
    """Puts the value into its slot."""
    _, length, buffer, write = packed
    chunk = cast(Chunk, slot.chunk)
    start = slot.offset - chunk.offset
    if write is not None:
        write(memoryview(chunk.map)[start : start + length])
    elif length >= _LONG_COPY and (numpy := sys.modules.get("numpy")) is not None:
        numpy.copyto(chunk.array[start : start + length], numpy.frombuffer(buffer, numpy.uint8))
    elif length:
        chunk.map[start : start + length] = buffer


def _write_behind(slot: Slot, length: int, text: bytes) -> None:
    if text:
        chunk = cast(Chunk, slot.chunk)
        start = slot.offset - chunk.offset + length
        chunk.map[start : start + len(text)] = text
