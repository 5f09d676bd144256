"""What travels beside a value between processes: kind, time, form, metadata. Node (>= 3.10).

Version 2, little endian: one byte each for version, flags and the form's length, the timestamp as 8
bytes (nanoseconds), the sender as 4 bytes (random; 0 for nobody) and its count of messages so far
as 4, the form in ASCII, the metadata as JSON (nothing if it is empty). In a part of a message, the
part's index and the number of parts, 4 bytes each, stand before the form.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from dora.communication.base import Kind
from dora.metadata import PRECIOUS, Metadata, from_json, to_json

VERSION = 2

_FIXED = struct.Struct("<BBBqII")
NUMBERS = 0xFFFFFFFF  # then they begin again

_PART = struct.Struct("<II")
_CLOSED, _FLUSH, _PRECIOUS, _IN_PARTS, _RESTARTED, _FAILED = 1, 2, 4, 8, 16, 32

_KINDS = {_CLOSED: Kind.CLOSED, _RESTARTED: Kind.RESTARTED, _FAILED: Kind.FAILED}
WITHOUT_A_WORD = "its process ended without a word: killed, or crashed"
_LONGEST_ERROR = 500  # characters


class Header(NamedTuple):
    """`flush`: empties the receiver's queue first. `precious`: is dropped last.

    `sender` is one publisher, and `number` counts its messages, so that gaps show. A large message
    comes as `parts` messages with the same number, the first of which has form and metadata.
    """

    kind: Kind
    timestamp: int
    form: str
    metadata: bytes  # JSON; read by `read_metadata` when the message is received
    flush: bool
    precious: bool
    sender: int = 0
    number: int = 0
    part: int = 0
    parts: int = 1

    def read_metadata(self) -> Metadata:
        """Raises ValueError if a faulty peer sent something else than metadata."""
        return from_json(self.metadata) if self.metadata else {}


def flags_of(metadata: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a message with this metadata flushes the queue, and whether it is dropped last."""
    return metadata.get("flush") is True, not PRECIOUS.isdisjoint(metadata)


def pack_data(
    form: str, metadata: Mapping[str, Any], timestamp: int, sender: int = 0, number: int = 0
) -> bytes:
    """`metadata` is normalised; of `number` the lower 32 bits travel."""
    name = form.encode("ascii")
    number &= NUMBERS
    if not metadata:
        return _FIXED.pack(VERSION, 0, len(name), timestamp, sender, number) + name
    flush, precious = flags_of(metadata)
    flags = (flush and _FLUSH) | (precious and _PRECIOUS)
    fixed = _FIXED.pack(VERSION, flags, len(name), timestamp, sender, number)
    return fixed + name + to_json(metadata)


def pack_part(header: bytes, part: int, parts: int) -> bytes:
    """Of `pack_data`'s header, for one of several parts."""
    version, flags, length, timestamp, sender, number = _FIXED.unpack_from(header)
    rest = header[_FIXED.size :] if part == 0 else b""
    fixed = (version, flags | _IN_PARTS, length if part == 0 else 0, timestamp, sender, number)
    return _FIXED.pack(*fixed) + _PART.pack(part, parts) + rest


def pack_closed(timestamp: int, sender: int = 0, number: int = 0) -> bytes:
    return _FIXED.pack(VERSION, _CLOSED, 0, timestamp, sender, number & NUMBERS)


def pack_notice(
    kind: Kind, process: str, error: str, timestamp: int, sender: int = 0, number: int = 0
) -> bytes:
    """Of a producer that has died: RESTARTED or FAILED."""
    flag = {Kind.RESTARTED: _RESTARTED, Kind.FAILED: _FAILED}[kind]
    fixed = _FIXED.pack(VERSION, flag, 0, timestamp, sender, number & NUMBERS)
    return fixed + to_json(notice(process, error))


def notice(process: str, error: str) -> Metadata:
    """The metadata of RESTARTED and FAILED."""
    return {"process": process, "error": error[:_LONGEST_ERROR]}


def unpack(data: bytes) -> Header:
    """Raises ValueError on anything that the functions above cannot have made."""
    if len(data) < _FIXED.size:
        raise ValueError(f"a message's header has {len(data)} bytes, at least {_FIXED.size} needed")
    version, flags, length, timestamp, sender, number = _FIXED.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"a message's header has version {version}, this is version {VERSION}")
    begin, part, parts = _FIXED.size, 0, 1
    if flags & _IN_PARTS:
        if len(data) < begin + _PART.size:
            raise ValueError("a message's header is damaged")
        part, parts = _PART.unpack_from(data, begin)
        begin += _PART.size
    end = begin + length
    if part >= parts or end > len(data) or timestamp < 0:
        raise ValueError("a message's header is damaged")
    return Header(
        kind=_KINDS.get(flags & (_CLOSED | _RESTARTED | _FAILED), Kind.DATA),
        timestamp=timestamp,
        form=data[begin:end].decode("ascii", "replace"),
        metadata=data[end:],
        flush=bool(flags & _FLUSH),
        precious=bool(flags & _PRECIOUS),
        sender=sender,
        number=number,
        part=part,
        parts=parts,
    )
