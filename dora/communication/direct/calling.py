"""What is said when a reader calls: first to the sender's machine, then to the sender. Pure.

To the machine, in the clear: whom it wants. To the sender, once both know who the other is: what it
wants to read, and what it had last. The sender answers with an empty frame, then come messages.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from dora.communication.direct.frames import PREFIX

_MAGIC = b"DORA1"
_WANT = struct.Struct("<5sB")
LONGEST_WANT = _WANT.size + 255
_LENGTH = struct.Struct("<H")
ACCEPTED = PREFIX.pack(0, 0)


def want(node: str) -> bytes:
    """Raises ValueError for a name of more than 255 bytes."""
    name = node.encode()
    if len(name) > 255:
        raise ValueError(f"a node's name of {len(name)} bytes")
    return _WANT.pack(_MAGIC, len(name)) + name


def wanted(data: bytes) -> tuple[str, int] | None:
    """The node, and how many bytes said so; None if that is not all of it yet. Raises ValueError
    for anything but the beginning of what `want` makes."""
    if not _MAGIC.startswith(data[: len(_MAGIC)]):
        raise ValueError("somebody else's protocol")
    if len(data) < _WANT.size:
        return None
    _, length = _WANT.unpack_from(data)
    if len(data) < _WANT.size + length:
        return None
    return data[_WANT.size : _WANT.size + length].decode(), _WANT.size + length


def socket_of(router: str, node: str) -> str:
    """Where a node takes connections from its machine's router, whose socket is `router`: no
    longer than that path, however long the node's name."""
    name = hashlib.blake2s(node.encode(), digest_size=5).hexdigest()
    return str(Path(router).with_name(name))


@dataclass(frozen=True)
class Call:
    """`reader`: `node/input`. `sender` and `number`: of the last message that came; 0: none did.
    `hold`: the sender is to be held back by a reader that is slow."""

    route: str
    reader: str
    sender: int = 0
    number: int = 0
    hold: bool = False

    def to_bytes(self) -> bytes:
        text = json.dumps(asdict(self)).encode()
        return _LENGTH.pack(len(text)) + text

    @classmethod
    def from_text(cls, text: bytes) -> Call:
        """Raises ValueError on anything but what `to_bytes` puts behind the length."""
        try:
            call = cls(**json.loads(text))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"not a call: {error}") from error
        values = call.route, call.reader, call.sender, call.number, call.hold
        if [str, str, int, int, bool] != [type(it) for it in values]:
            raise ValueError("not a call: its values have other types")
        return call


LENGTH_BYTES = _LENGTH.size


def length_of(data: bytes) -> int:
    """Of the call's text, which follows."""
    (length,) = _LENGTH.unpack(data)
    return int(length)
