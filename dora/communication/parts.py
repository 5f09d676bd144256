"""Large messages travel in parts, and are put together again. Node (>= 3.10). Pure.

A whole large message waits for a slow link as one, with everything behind it, or is given up as one
when that takes too long. Each part only waits for itself: messages of any size pass links of
any speed, others get their turn in between, and a dead link is noticed by the first part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dora.communication.header import Header, pack_part

SIZE = 256 * 1024  # bytes of a part; with the routers' deadline, what the slowest link must carry
MOST_SENDERS = 4  # whose messages are under way at once; there is one, and its past


def split(buffer: Any, header: bytes, size: int = SIZE) -> Iterator[tuple[bytes, bytes]]:
    """Payload and header of each part."""
    view = memoryview(buffer).cast("B")
    parts = -(-len(view) // size)
    for part in range(parts):
        yield bytes(view[part * size : (part + 1) * size]), pack_part(header, part, parts)


class Assembly:
    """Puts the messages of one route together."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Header, list[Any]]] = {}  # by sender

    def __repr__(self) -> str:
        return f"<Assembly of {len(self._open)} messages>"

    def add(self, header: Header, payload: Any) -> tuple[Header, list[Any]] | None:
        """The message's header and payloads, once its last part has come; None before.

        A message of which a part is missing never comes.
        """
        if header.parts == 1:
            self._open.pop(header.sender, None)
            return header, [payload]
        if header.part == 0:
            self._open.pop(header.sender, None)
            if len(self._open) >= MOST_SENDERS:
                del self._open[next(iter(self._open))]
            self._open[header.sender] = header, [payload]
            return None
        begun = self._open.get(header.sender)
        if begun is None:
            return None
        first, payloads = begun
        expected = (first.number, len(payloads), first.parts)
        if expected != (header.number, header.part, header.parts):
            del self._open[header.sender]
            return None
        payloads.append(payload)
        if len(payloads) < first.parts:
            return None
        del self._open[header.sender]
        return first, payloads
