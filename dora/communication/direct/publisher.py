"""Sends the messages of one route to those who have called for it. Node (>= 3.10)."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from dora import arrow
from dora.communication.base import Kind
from dora.communication.direct.frames import PREFIX, head
from dora.communication.direct.line import Line, Outgoing
from dora.communication.header import NUMBERS, flags_of, pack_closed, pack_data, pack_notice
from dora.protocol.process import identity


class Route:
    """Who reads it, and the publishers that it has here: one, and for a moment its successor."""

    def __init__(self) -> None:
        self.lines: tuple[Line, ...] = ()
        self.publishers: list[DirectPublisher] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Route to {[line.reader for line in self.lines]}>"

    def readers(self) -> Counter[str]:
        """How many connections each has."""
        return Counter(line.reader for line in self.lines if not line.ended)

    def attach(self, line: Line, sender: int, number: int) -> None:
        """From now on the line gets what is sent, and before that what its reader has missed: its
        last message was `number` of `sender`. A line of the same reader that is stuck is one
        that was cut off: it has known that sooner."""
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            for publisher in self.publishers:
                stack.enter_context(publisher.order)
            for other in self.lines:
                if other.reader == line.reader and other.stuck:
                    other.end()
            missed = [it for each in self.publishers for it in each.missed(sender, number)]
            line.begin(missed)
            self.lines = (*(it for it in self.lines if not it.ended), line)

    def add(self, publisher: DirectPublisher) -> None:
        with self._lock:
            self.publishers.append(publisher)

    def remove(self, publisher: DirectPublisher) -> None:
        with self._lock:
            if publisher in self.publishers:
                self.publishers.remove(publisher)


class DirectPublisher:
    """With a `cache`, that many messages are kept for readers that call again."""

    def __init__(self, route: Route, cache: int) -> None:
        self.order = threading.Lock()  # several threads may send
        self.size = 0  # bytes of the last message
        self._route = route
        self._sender = secrets.randbits(32) or 1
        self._number = 0
        self._kept: deque[tuple[int, Outgoing]] = deque(maxlen=cache)
        self._last: list[tuple[int, Outgoing]] = []  # words that nothing more will come
        self._closed = False
        route.add(self)

    def __repr__(self) -> str:
        return f"<DirectPublisher, {self._number} sent, {self._route}>"

    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        form, buffer = arrow.encode(value)
        if type(buffer) is not bytes:
            buffer = memoryview(buffer)
        self.size = len(buffer)
        precious = bool(metadata) and flags_of(metadata)[1]
        with self.order:
            if self._closed:
                return
            self._number += 1
            header = pack_data(form, metadata, timestamp, self._sender, self._number)
            header = PREFIX.pack(len(header), self.size) + header
            if self._kept.maxlen:
                buffer = bytes(buffer)
                self._kept.append((self._number, Outgoing(header, buffer, precious)))
            for line in self._route.lines:
                line.send(header, buffer, precious)

    def finish(self, error: str | None = None) -> None:
        with self.order:
            self._last = []
            now = time.time_ns()
            if error is not None:
                self._number += 1
                about = Kind.FAILED, identity(), error
                self._say(pack_notice(*about, now, self._sender, self._number))
            self._number += 1
            self._say(pack_closed(now, self._sender, self._number))

    def missed(self, sender: int, number: int) -> list[Outgoing]:
        """What a reader gets first that had `number` of that sender last; with `order` held."""
        if sender != self._sender:
            return [it for _, it in (*self._kept, *self._last)]
        return [
            it for n, it in (*self._kept, *self._last) if 0 < (n - number) & NUMBERS <= NUMBERS // 2
        ]

    def close(self) -> None:
        self._closed = True
        self._route.remove(self)

    def _say(self, header: bytes) -> None:
        word = Outgoing(head(header, 0), b"", True)
        self._last.append((self._number, word))
        for line in self._route.lines:
            line.send(*word)
