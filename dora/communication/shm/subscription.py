"""A consumer's subscription: one pipe for its whole life, whoever produces. Node (>= 3.10)."""

from __future__ import annotations

import array
import fcntl
import logging
import os
import struct
import termios
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from dora.communication.base import Kind, Message
from dora.communication.distribution import Share
from dora.communication.header import notice
from dora.communication.shm.connection import Connection, Region, read_value
from dora.communication.shm.forks import abandon_in_children
from dora.communication.shm.record import (
    CLOSED,
    DRAINED,
    FAILED,
    GIVEN,
    PRECIOUS,
    RECORD,
    RESTARTED,
    SIZE,
)
from dora.communication.shm.table import SLOTS
from dora.communication.shm.values import FIRST_PLAIN, PLAIN, WIDTHS, is_known
from dora.metadata import Metadata, from_json

logger = logging.getLogger("dora")

# Up to here a value is copied out when it is received: that costs no more than a region, and a
# program that keeps thousands of small messages keeps no shared memory.
COPIED = 4096

_SPARE = 8  # records that find room beside the queue: what closes a route, and precious ones
_PAGE = 4096
_PER_PAGE = _PAGE // SIZE
# As Message(...), but without a step in Python.
_message: Callable[[type[Message], tuple[Any, ...]], Message] = tuple.__new__
_region: Callable[[type[Region], tuple[Any, ...]], Region] = tuple.__new__
_DATA = Kind.DATA

_OURSELVES = 0  # the epoch of records that this side wrote
_DEATHS = {RESTARTED: Kind.RESTARTED, FAILED: Kind.FAILED}
_MOST_NOTES = 16


class ShmSubscription:
    """`receive` reads one record, so that several inputs are served in turn.

    The producer steals from the pipe what is too much; the pipe holds what the queue may.
    """

    def __init__(
        self,
        route: str,
        queue_size: int,
        queue_policy: str,
        ended: Callable[[ShmSubscription], None],
        share: Share | None = None,
        drain: Callable[[ShmSubscription], None] | None = None,
    ) -> None:
        """`ended` is called once, by `close`; it has `give_back` called when the pipe is not
        used any more. `share` and `drain` are of replicas: the latter is told, once, that no
        more is wanted."""
        self.route = route
        self.queue_policy = queue_policy
        self.share = share
        self._drain = drain or _nothing
        self.draining = False
        self._drained: set[int] = set()  # epochs of producers that give no more
        self._at: tuple[Connection, int] | None = None  # the message that the program is at
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.queue_size = self._enlarge(queue_size)
        self.credit = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._gives_credit = queue_policy == "backpressure"
        self._lock = threading.Lock()  # between the receiver and the reactor; never held for long
        self._connections: dict[int, Connection] = {}
        self._dead: list[Connection] = []  # gone, but some of their records may still wait
        self._lost = 0  # dropped by producers that are gone
        self._epoch = _OURSELVES
        self._notes: dict[int, Metadata] = {}  # what is known of deaths that wait in the pipe
        self._noted = 0
        self._ended = ended
        self._closed = False
        abandon_in_children(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._connections)} connections"
        return f"<ShmSubscription of {self.route}, {state}, {self.dropped} dropped>"

    @property
    def dropped(self) -> int:
        with self._lock:
            return self._lost + sum(c.lease.table.dropped for c in self._connections.values())

    def fileno(self) -> int:
        return self.reader

    def receive(self) -> Message | None:
        """Records that no producer of ours can have sent are logged and passed over."""
        # One function, and few objects: see `shortcut`.
        while not self._closed:
            try:
                data = os.read(self.reader, SIZE)
            except BlockingIOError:
                return None
            if self._gives_credit:
                os.eventfd_write(self.credit, 1)
            try:
                (
                    epoch,
                    kind,
                    _,
                    _,
                    timestamp,
                    offset,
                    length,
                    slot,
                    form,
                    generation,
                    extra,
                    number,
                    first,
                    pages,
                ) = RECORD.unpack(data)
                if kind:
                    if kind == DRAINED:
                        self._drained.add(epoch)
                        continue
                    if kind != GIVEN:
                        return self._no_data(kind, timestamp)
                    self._take(epoch, number)
                connection = self._connections.get(epoch)
                if connection is None:
                    raise ValueError(f"a record of unknown epoch {epoch}")
                if self._dead:
                    self._bury(connection)
                chunk = connection.chunks.get(first)
                if chunk is None or chunk.pages != pages:
                    chunk = connection.map(first, pages)
                width = WIDTHS.get(form)
                if slot >= SLOTS or (length % width if width is not None else not is_known(form)):
                    raise ValueError(_complaint(slot, form, length))
                start = offset - chunk.offset
                middle = start + length
                end = middle + extra
                if start < 0 or end > chunk.length:
                    raise ValueError(f"{end - start} bytes at {offset} are not in their chunk")
                place: Region | bytes
                if end - start <= COPIED:
                    place = chunk.map[start:middle]
                    text = chunk.map[middle:end] if extra else b""
                    connection.lease.released[slot] = generation
                else:
                    # First of all, so that the slot is given back whatever happens next.
                    given = connection.lease, slot, generation, chunk, start, length
                    place = _region(Region, given)
                    text = chunk.map[middle:end] if extra else b""
                metadata: Metadata = from_json(text) if extra else {}
                value = partial(read_value, form, place, connection)
                return _message(Message, (_DATA, timestamp, metadata, value))
            except struct.error:
                logger.warning(
                    "a message of %s was thrown away: a record of %d bytes", self.route, len(data)
                )
            except ValueError as error:
                logger.warning("a message of %s was thrown away: %s", self.route, error)
        return None

    def done(self) -> None:
        """The program has done with all that it has received. Only of one that shares."""
        if self._at is not None:
            connection, number = self._at
            connection.lease.table.finished = number
            self._at = None

    @property
    def drained(self) -> bool:
        """After `drain`: whether nothing more comes."""
        with self._lock:
            if self.reader < 0:
                return True
            dead = {connection.epoch for connection in self._dead}
            return not self._waiting() and self._drained | dead >= set(self._connections)

    @property
    def waiting(self) -> int:
        """How many messages wait, those of the producers' last words, too. From any thread."""
        with self._lock:
            return 0 if self.reader < 0 else self._waiting()

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and no producer is connected."""
        with self._lock:
            return self.reader < 0 or not (self._waiting() or self._connections)

    def _take(self, epoch: int, number: int) -> None:
        connection = self._connections.get(epoch)
        if connection is not None:
            connection.lease.table.taken = number
            self._at = connection, number

    def drain(self) -> None:
        """Of one that shares: takes what it was given, and is given no more; see `drained`."""
        if not self.draining:
            self.draining = True
            self._drain(self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._ended(self)

    def give_back(self) -> None:
        """Closes the pipe, when nobody else uses it any more."""
        with self._lock:
            if self.reader < 0:
                return
            for fd in (self.reader, self.writer, self.credit):
                os.close(fd)
            self._closed = True
            self.reader = self.writer = self.credit = -1
            self._lost += sum(c.lease.table.dropped for c in self._connections.values())
            self._connections.clear()
            self._dead.clear()

    def abandon(self) -> None:
        """In a forked child: what comes is for the parent."""
        self._lock = threading.Lock()
        self._ended = _nothing
        self.give_back()

    def new_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def add(self, connection: Connection) -> None:
        with self._lock:
            self._connections[connection.epoch] = connection

    def retire(self, connection: Connection) -> None:
        """No more will come through it; what waits is still received."""
        with self._lock:
            if connection.epoch in self._connections:
                self._dead.append(connection)
                if not self._waiting():
                    self._purge()

    def say_closed(self) -> None:
        """Puts the end of the route behind all that waits."""
        self._write(CLOSED, 0)

    def say(self, kind: int, process: str, error: str) -> None:
        """Puts the death of a producer (RESTARTED or FAILED) behind all that waits."""
        with self._lock:
            self._noted += 1
            self._notes[self._noted] = notice(process, error)
            self._notes.pop(self._noted - _MOST_NOTES, None)  # nobody takes them
        self._write(kind, self._noted)

    def _write(self, kind: int, note: int) -> None:
        record = RECORD.pack(_OURSELVES, kind, PRECIOUS, 0, note, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        with self._lock:
            if self.writer < 0:
                return
            try:
                os.write(self.writer, record)
            except BlockingIOError:
                # Only a producer that does not keep to the limit can have filled it up.
                logger.warning("%s: no room for the end of the route", self.route)

    def _no_data(self, kind: int, note: int) -> Message:
        """Raises ValueError for what nobody can have written."""
        if kind == CLOSED:
            return Message(Kind.CLOSED, note, {}, _nothing)
        with self._lock:
            metadata = self._notes.pop(note, None)
        if kind not in _DEATHS or metadata is None:
            raise ValueError(f"a record of kind {kind}")
        return Message(_DEATHS[kind], 0, metadata, _nothing)

    def _bury(self, connection: Connection) -> None:
        """Records of one pipe come in order: of who went before `connection`, all are taken."""
        with self._lock:
            if connection not in self._dead:
                self._purge()

    def _waiting(self) -> int:
        """How many records are in the pipe."""
        count = array.array("i", [0])
        fcntl.ioctl(self.reader, termios.FIONREAD, count)
        return count[0] // SIZE

    def _purge(self) -> None:
        for connection in self._dead:
            self._lost += connection.lease.table.dropped
            del self._connections[connection.epoch]
        self._dead.clear()

    def _enlarge(self, queue_size: int) -> int:
        """Makes the pipe hold the queue. The size that it can hold for sure, if it is less."""
        wanted = max(queue_size, 1)
        pages = -(-(wanted + _SPARE - 1) // _PER_PAGE) + 1
        for size in (pages, *(n for n in (256, 64) if n < pages)):
            try:
                fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, size * _PAGE)
                break
            except OSError:
                pass  # more than this user may have: try less, or leave it as it is
        pages = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ) // _PAGE
        # What is written begins anywhere in the first page, so that one page may be half used.
        possible = max((pages - 1) * _PER_PAGE + 1 - _SPARE, 1)
        if wanted > possible:
            logger.warning(
                "%s: a queue of %d is more than a pipe holds; it holds %d",
                self.route,
                wanted,
                possible,
            )
        return min(wanted, possible)


def _complaint(slot: int, form: int, length: int) -> str:
    if slot >= SLOTS:
        return f"slot {slot} of {SLOTS}"
    if not is_known(form):
        return f"unknown form {form}"
    return f"{length} bytes are no whole number of {PLAIN[form - FIRST_PLAIN]} elements"


def _nothing(*_: Any) -> None:
    return None
