"""What goes through a subscription's pipe: one record of 64 bytes for each message. Node (>= 3.10).

Writes and reads of 64 bytes are atomic on a pipe, so any record is taken by exactly one reader: the
consumer, or its producer that steals the oldest to make room.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RECORD = struct.Struct("<IBBHqQQIIQIIII")
TAIL = struct.Struct("<BBHqQQIIQIIII")  # all but the epoch: the same for all who get the message
SIZE = 64
NUMBER = struct.Struct("<I")
NUMBER_AT = 48  # in a tail
assert RECORD.size == SIZE == TAIL.size + 4

DATA = 0
CLOSED = 1  # nothing more will come of this route
RESTARTED, FAILED = 2, 3  # the producer has died: the consumer's own note to itself
GIVEN = 4  # a message for this one of several replicas
DRAINED = 5  # the replica wanted no more, and gets no more

PRECIOUS = 1  # a flag: is dropped last

PAGE = 4096  # chunks begin and end on whole pages


class Record(NamedTuple):
    """`RECORD.unpack` with names. The hot paths take the tuple apart themselves.

    The value has `length` bytes from `offset` of the arena, `metadata` bytes of JSON lie behind it,
    all inside of the chunk that begins at page `chunk` and has `pages` pages. The consumer gives it
    back with `released[slot] = generation`.
    """

    epoch: int  # which of the consumer's connections sent it
    kind: int
    flags: int
    reserved: int
    timestamp: int
    offset: int
    length: int
    slot: int
    form: int
    generation: int
    metadata: int
    number: int  # of a message that was given, in its lane; the lower 32 bits
    chunk: int
    pages: int

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        return cls._make(RECORD.unpack(data))
