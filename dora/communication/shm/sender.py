"""A producer's view of its consumers: who gets records, and what they still look at (>= 3.10).

All of it happens under the layer's lock, which is never held while anything waits.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import stat
import termios
from collections.abc import Sequence

from dora.communication.inbox import BACKPRESSURE, DROP_OLDEST, capacity
from dora.communication.shm.allocator import Allocator, Releases, Slot
from dora.communication.shm.handshake import Subscribe
from dora.communication.shm.record import CLOSED, DRAINED, PRECIOUS, RECORD, SIZE, Record
from dora.communication.shm.table import Table


class Subscriber:
    """One subscription of a consumer. Owns its file descriptors.

    `alive` until the consumer's process is gone, or has let go of everything: until then what it
    was sent is its own. `room` is how many records may be written without looking at the pipe.
    """

    __slots__ = (
        "_count",
        "_steal",
        "_table",
        "alive",
        "blocking",
        "closed",
        "credit",
        "epoch",
        "given",
        "group",
        "key",
        "leaving",
        "listening",
        "node",
        "ours",
        "pipe",
        "prefix",
        "released",
        "room",
        "route",
        "size",
        "slots",
        "socket",
    )

    def __init__(
        self, sock: socket.socket, request: Subscribe, fds: Sequence[int], slots: Allocator
    ) -> None:
        """Raises ValueError if the request cannot be served; `fds` are the caller's then."""
        self.pipe, self._steal, table, self.credit = fds
        if not 0 < request.epoch < 1 << 32:
            raise ValueError(f"epoch {request.epoch}")
        if request.queue_policy not in (DROP_OLDEST, BACKPRESSURE):
            raise ValueError(f"queue policy {request.queue_policy!r}")
        for fd in (self.pipe, self._steal):
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise ValueError("no pipe")
            os.set_blocking(fd, False)
        if os.readlink(f"/proc/self/fd/{self.credit}") != "anon_inode:[eventfd]":
            raise ValueError("no eventfd")
        os.set_blocking(self.credit, False)
        self._table: Table | None = Table(table)
        self.released: Releases = self._table.released
        self.socket = sock
        self.route = request.route
        self.node = request.node
        self.group = request.group
        self.key = request.key
        self.given = 0  # messages, of a replica
        self.leaving = False  # wants no more
        self.epoch = request.epoch
        self.prefix = self.epoch.to_bytes(4, "little")
        self.size = max(request.queue_size, 1)
        self.blocking = request.queue_policy == BACKPRESSURE
        self.slots = slots
        self.alive = True
        self.listening = True
        self.ours = False
        self.closed = False  # the last thing it was told is that the route is closed
        self.room = 0
        self._count = array.array("i", [0])
        os.close(table)

    def __repr__(self) -> str:
        state = "listening" if self.listening else "leaving" if self.alive else "gone"
        return f"<Subscriber {self.node or 'somebody'} of {self.route}, {state}>"

    def mark_ours(self) -> None:
        """A subscription of this very process, which could not read while it waits for itself."""
        self.ours = True
        if self.blocking:
            self.blocking = False
            self.size = capacity(self.size, BACKPRESSURE)

    @property
    def there(self) -> bool:
        """Of a replica, as `distribution.Lane` has it."""
        return self.listening

    @property
    def open(self) -> bool:
        return self.listening and not self.leaving

    def load(self) -> int:
        table = self._table
        if table is None or not self.listening:
            return 0
        return self._waiting() + (table.taken != table.finished)

    def finished(self) -> int:
        table = self._table
        if table is None:
            return self.given
        return self.given - ((self.given - table.finished) & 0xFFFFFFFF)

    def end(self) -> None:
        """Of a replica: says, behind all that it was given, that this was it."""
        self.leaving = True
        self.squeeze(RECORD.pack(self.epoch, DRAINED, PRECIOUS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self.room = 0

    def depart(self) -> None:
        """Of a replica: its group has forgotten it."""
        self.leaving = True

    def has_room(self) -> bool:
        """Looks at the pipe if need be."""
        if self.room <= 0:
            self.room = self.size - self._waiting()
        return self.room > 0

    def make_room(self) -> bool:
        """Steals the oldest records until there is room for one more. False if it is not there and
        the consumer wants the sender to wait."""
        while not self.has_room():
            if self.blocking:
                return False
            if not self.steal():
                self.room = 1  # the consumer took them meanwhile
        return True

    def give(self, slot: Slot, tail: bytes) -> None:
        """Sends the record of a message. There is room for it."""
        slot.holders = (*slot.holders, self)
        self.closed = False
        self.room -= 1
        try:
            os.write(self.pipe, self.prefix + tail)
        except BlockingIOError:
            self.squeeze(self.prefix + tail)

    def steal(self) -> bool:
        """Drops the oldest record, or the oldest that is not precious. False if there is none."""
        data = self.take()
        if data is None:
            return False
        if data[5] & PRECIOUS:
            data = self._spare(data)
        if data[4] not in (CLOSED, DRAINED):
            self.drop()
        self.disown(data)
        self.room += 1
        return True

    def close_route(self, timestamp: int) -> None:
        """Says, behind all that waits, that nothing more will come; once."""
        if self.closed:
            return
        self.closed = True
        self.squeeze(RECORD.pack(self.epoch, CLOSED, 0, 0, timestamp, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self.room = 0

    def flush(self) -> None:
        """Takes back all that waits and is not precious; nothing of it counts as dropped."""
        kept = []
        while (data := self.take()) is not None:
            if data[5] & PRECIOUS:
                kept.append(data)
            else:
                self.disown(data)
        for data in kept:
            os.write(self.pipe, data)
        self.room = 0

    def drop(self) -> None:
        """Counts a message that the consumer will not get."""
        if self._table is not None:
            self._table.dropped += 1

    def disown(self, data: bytes) -> None:
        """The consumer never saw this record: it need not release the slot."""
        record = Record.unpack(data)
        if record.epoch != self.epoch or record.kind in (CLOSED, DRAINED):
            return  # of the process that produced before us
        slot = self.slots.slot(record.slot, record.generation)
        if slot is not None and self in slot.holders:
            slot.holders = tuple(it for it in slot.holders if it is not self)

    def leave(self) -> None:
        """The consumer wants no more; what it has got it still looks at."""
        if self.listening:
            while (data := self.take()) is not None:
                self.disown(data)
            self._hang_up()

    def wake(self) -> None:
        """Lets a sender look again that waits for room."""
        try:
            os.eventfd_write(self.credit, 1)
        except BlockingIOError:
            pass  # it is awake then

    def gone(self) -> None:
        """The consumer is gone, or we are: all that it had is free, and what waits in its pipe is
        still its own. May be called twice."""
        if self.alive:
            self.alive = False
            # Slots may name us for long: what is mapped must not stay for that.
            self._table = None
            self.released = ()
            if self.listening:
                self._hang_up()
            self.socket.close()

    def _hang_up(self) -> None:
        self.listening = False
        self.wake()
        for fd in (self.pipe, self._steal, self.credit):
            os.close(fd)

    def squeeze(self, record: bytes) -> None:
        """Writes although the pipe may be full: smaller than the consumer said, or others write to
        it, too."""
        while True:
            try:
                os.write(self.pipe, record)
                return
            except BlockingIOError:
                self.room = 0
                if not self.steal():
                    return  # it is the consumer's doing, and its loss

    def take(self) -> bytes | None:
        """Takes the oldest record back from the pipe; None if there is none."""
        try:
            data = os.read(self._steal, SIZE)
        except BlockingIOError:
            return None
        return data if len(data) == SIZE else None

    def _spare(self, oldest: bytes) -> bytes:
        """Takes the oldest record that is not precious instead, and puts the others back in their
        order; the oldest of all if all are precious.

        A consumer that reads in this very moment may get a precious message a little late.
        """
        taken = [oldest]
        while (data := self.take()) is not None:
            taken.append(data)
        victim = next((i for i, d in enumerate(taken) if not d[5] & PRECIOUS), 0)
        stolen = taken.pop(victim)
        for data in taken:
            os.write(self.pipe, data)
        return stolen

    def _waiting(self) -> int:
        fcntl.ioctl(self._steal, termios.FIONREAD, self._count)
        return self._count[0] // SIZE
