"""Sends the messages of one route to zenoh. Node (>= 3.10)."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

import zenoh
import zenoh.ext

from dora import arrow
from dora.communication import parts
from dora.communication.base import Kind
from dora.communication.header import pack_closed, pack_data, pack_notice
from dora.communication.zenoh.session import hold, release
from dora.communication.zenoh.shared import SharedPublisher
from dora.protocol.config import BULK, HIGH, NORMAL, REALTIME
from dora.protocol.process import identity

HEARTBEAT = 0.5  # s; how long a reader may not notice that the last message was lost

PRIORITIES = {
    REALTIME: zenoh.Priority.REAL_TIME,
    HIGH: zenoh.Priority.INTERACTIVE_HIGH,
    NORMAL: zenoh.Priority.DATA,
    BULK: zenoh.Priority.DATA_LOW,
}


class ZenohPublisher:
    """Raises KeyError for a priority that there is none of. `shared` sends to replicas."""

    def __init__(
        self,
        session: zenoh.Session,
        route: str,
        priority: str,
        cache: int,
        shared: SharedPublisher | None = None,
    ) -> None:
        self._route = route
        self._shared = shared
        self._publisher: Any = hold(_declare(session, route, PRIORITIES[priority], cache))
        self._cache = cache
        self._sender = secrets.randbits(32) or 1
        self._number = 0
        self._order = threading.Lock()  # several threads may send
        self._closed = False
        self.size = 0  # bytes of the last message

    def __repr__(self) -> str:
        shared = "" if self._shared is None else f", {self._shared}"
        return f"<ZenohPublisher of {self._route}{shared}>"

    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        form, buffer = arrow.encode(value)
        if self._shared is not None:
            content = bytes(memoryview(buffer))  # it may be sent again
            self._shared.send(pack_data(form, metadata, timestamp), content, metadata)
        self.size = memoryview(buffer).nbytes
        with self._order:
            self._number += 1
            header = pack_data(form, metadata, timestamp, self._sender, self._number)
            # What is sent again is sent as one, and counts as one in the cache.
            if not self._cache and memoryview(buffer).nbytes > parts.SIZE:
                for payload, head in parts.split(buffer, header):
                    self._put(payload, head)
                return
            if not isinstance(buffer, (bytes, bytearray)):
                buffer = bytes(memoryview(buffer))
            self._put(buffer, header)

    def finish(self, error: str | None = None) -> None:
        if self._shared is not None:
            if error is not None:
                self._shared.tell(pack_notice(Kind.FAILED, identity(), error, time.time_ns()))
            self._shared.tell(pack_closed(time.time_ns()))
        with self._order:
            if error is not None:
                self._number += 1
                about = Kind.FAILED, identity(), error
                self._put(b"", pack_notice(*about, time.time_ns(), self._sender, self._number))
            self._number += 1
            self._put(b"", pack_closed(time.time_ns(), self._sender, self._number))

    def close(self) -> None:
        if self._closed:
            return
        if self._shared is not None:
            self._shared.close()
            self._shared.undeclare()
        with self._order:  # nobody is in the middle of a message
            self.shut()
            self._publisher.undeclare()

    @property
    def closed(self) -> bool:
        return self._closed

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        if self._shared is not None:
            self._shared.close()
        self._closed = True
        release(self._publisher)

    def _put(self, payload: bytes | bytearray, header: bytes) -> None:
        if not self._closed:
            self._publisher.put(payload, attachment=header)


def _declare(session: zenoh.Session, route: str, priority: zenoh.Priority, cache: int) -> Any:
    drop = zenoh.CongestionControl.DROP
    if not cache:
        return session.declare_publisher(
            route, congestion_control=drop, priority=priority, express=False
        )
    return zenoh.ext.declare_advanced_publisher(
        session,
        route,
        congestion_control=drop,
        priority=priority,
        express=False,
        # A reply that is dropped is lost for good, so these may block: the router's link for half
        # a second at most (`session.transmit_queue`), and nobody but the reader who asked.
        cache=zenoh.ext.CacheConfig(
            cache,
            replies_config=zenoh.ext.RepliesConfig(
                congestion_control=zenoh.CongestionControl.BLOCK, priority=priority
            ),
        ),
        sample_miss_detection=zenoh.ext.MissDetectionConfig(
            heartbeat=HEARTBEAT, sporadic_heartbeat=None
        ),
        publisher_detection=True,
    )
