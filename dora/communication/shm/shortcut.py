"""The short way of a plain message to readers who have room. Node (>= 3.10).

Most of what nodes send is small, plain and without metadata. Where a message comes after a pause,
each further function and each further object that it touches costs as much as a system call; so
this way is one function, the program's own call. `ShmPublisher.send` does the same, and the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from dora.communication.shm.allocator import Allocator
from dora.communication.shm.pool import PREPARED, Pool
from dora.communication.shm.record import DATA, TAIL
from dora.communication.shm.route import Route
from dora.communication.shm.values import Packer

SendOutput = TypeVar("SendOutput", bound=Callable[..., None])


class Owner(Protocol):
    """The publisher. `taken` counts how often the short way was; `size` is the last one's bytes."""

    closed: bool
    taken: int
    size: int


class Shortcut(NamedTuple):
    """What the short way of one output needs."""

    acquire: Callable[[], bool]
    release: Callable[[], None]
    pool: Pool
    allocator: Allocator
    packer: Packer
    route: Route
    publisher: Owner


class Sender(Protocol):
    """`shortcuts`: the outputs that have one."""

    shortcuts: Mapping[str, Shortcut]


def shortcut(pool: Pool, route: Route, publisher: Owner) -> Shortcut:
    lock = pool.lock
    return Shortcut(lock.acquire, lock.release, pool, pool.allocator, pool.packer, route, publisher)


def with_shortcut(send_output: SendOutput) -> SendOutput:
    """Makes a `Sender`'s method `send_output(output_id, data, metadata=None)` take the short way.

    It is called itself for all that needs more than to be sent, and for the first value of a type.
    """
    pack, write, now = TAIL.pack, os.write, time.time_ns

    @wraps(send_output)
    def send(self: Sender, output_id: str, data: Any, metadata: Any = None) -> None:
        way = self.shortcuts.get(output_id) if type(output_id) is str else None
        if way is None or not (metadata is None or metadata == {}):
            return send_output(self, output_id, data, metadata)
        acquire, release, pool, allocator, packer, route, publisher = way
        kind = type(data)
        value = data
        if kind is packer.ndarray:
            form = packer.dtypes.get(value.dtype)
            length = value.nbytes if value.ndim == 1 else -1
        else:
            form, width = packer.classes.get(kind, (None, 0))
            if width:
                length = len(value) * width
                validity, value = value.buffers()
                if validity is not None or value is None or value.size != length:
                    form = None
            elif form is not None:
                length = len(value)
        subscribers = route.subscribers
        if form is None or not subscribers or publisher.closed:
            return send_output(self, output_id, data, metadata)
        bucket = allocator.by_size.get(length)
        if bucket is None:
            return send_output(self, output_id, data, metadata)
        acquire()
        try:
            for subscriber in subscribers:
                if subscriber.room <= 0 and not subscriber.make_room():
                    break  # it wants us to wait
            else:
                sent = bucket.sent
                slot = sent[-1] if sent else None
                if slot is not None:
                    index, generation = slot.index, slot.generation
                    for holder in slot.holders:
                        if holder.alive and holder.released[index] != generation:
                            slot = None
                            break
                    if slot is None and len(sent) == 2:  # of a reader that holds one at a time
                        slot = sent[0]
                        index, generation = slot.index, slot.generation
                        for holder in slot.holders:
                            if holder.alive and holder.released[index] != generation:
                                slot = None
                                break
                        else:
                            sent.rotate()
                if slot is None:
                    allocate = allocator.allocate if length < PREPARED else pool.allocate
                    slot = allocate(length)
                    if slot is not None:
                        sent.append(slot)
                        index = slot.index
                if slot is not None:
                    chunk: Any = slot.chunk
                    start = slot.start
                    chunk.map[start : start + length] = value
                    slot.generation = generation = next(allocator.generations)
                    slot.holders = subscribers
                    where = slot.offset, length, index, form, generation, 0, 0
                    tail = pack(DATA, 0, 0, now(), *where, chunk.first, chunk.pages)
                    for subscriber in subscribers:
                        subscriber.room -= 1
                        subscriber.closed = False
                        try:
                            write(subscriber.pipe, subscriber.prefix + tail)
                        except BlockingIOError:
                            subscriber.squeeze(subscriber.prefix + tail)
                    publisher.taken += 1
                    publisher.size = length
                    return None
        except (ValueError, BufferError):
            pass  # its elements do not lie behind each other: nothing was copied
        finally:
            release()
        return send_output(self, output_id, data, metadata)

    return cast(SendOutput, send)
