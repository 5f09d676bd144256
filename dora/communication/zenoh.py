"""The layer between machines: zenoh, through the router of this machine. Node, router (>= 3.10).

The only place that knows zenoh. What shapes it:

- Data is sent with DROP: a dead link or a hung consumer must never hold up a producer, and under
  BLOCK it also holds up everybody else on the router.
- Callbacks run in zenoh's own receiving thread (`indirect=False`): they only put the message into
  an Inbox. zenoh's default, a Python thread for each callback, keeps a process from ending.
- A session must be closed before the interpreter goes down, or a callback that arrives meanwhile
  aborts the process. `Layer.close` does it; the node calls it at exit.
- zenoh's own shared memory is off: it would leave files in /dev/shm behind a killed process.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import zenoh

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.header import Header, pack_closed, pack_data, unpack
from dora.communication.inbox import Inbox, capacity
from dora.errors import DoraError

logger = logging.getLogger("dora")

# Few threads; receiving and sending (which keeps the link alive) have one each, so that a program
# that holds the interpreter for seconds, and thereby the receiving thread, is not taken for dead.
NODE_RUNTIME = (
    "(rx:(worker_threads:1),tx:(worker_threads:1),"
    "acc:(handover:app),net:(handover:app),app:(worker_threads:1))"
)

LEASE = 2000  # ms without a sign of life until a link counts as dead
CLOSE_TIMEOUT = 3.0  # s; closing waits for what is under way to a router that may be hung

_RUNTIME = "ZENOH_RUNTIME"

T = TypeVar("T")


def client_settings(socket: str) -> dict[str, Any]:
    """A node's configuration: client of the router at this Unix socket, for ever reconnecting."""
    return {
        "mode": "client",
        "connect": {
            "endpoints": [f"unixsock-stream/{socket}"],
            "timeout_ms": -1,
            "retry": {"period_init_ms": 50, "period_max_ms": 500, "period_increase_factor": 2},
        },
        "scouting": {"multicast": {"enabled": False}, "gossip": {"enabled": False}},
        "transport": {
            "link": {"tx": {"lease": LEASE, "keep_alive": 4, "queue": transmit_queue(250_000)}},
            "shared_memory": {"enabled": False},
        },
    }


def transmit_queue(wait_before_drop: int) -> dict[str, Any]:
    """The queue of a link, and how long it may hold up a sender, in microseconds, when it is full.

    A link that stays full then drops at once, until it has room again. Room for 16 batches of
    64 KiB: with zenoh's two, bursts of a few thousand small messages lose some.
    """
    return {
        "size": {"data": 16},
        "congestion_control": {
            "drop": {
                "wait_before_drop": wait_before_drop,
                "max_wait_before_drop_fragments": 500_000,
            },
            "block": {"wait_before_close": 500_000},
        },
    }


def open_session(settings: Mapping[str, Any], runtime: str) -> zenoh.Session:
    """Blocks until the session is open; signals (Ctrl-C) still come through.

    `runtime` is zenoh's threads, which the first session of a process decides for all.
    Raises DoraError if zenoh refuses the settings or cannot listen.
    """
    outcome: list[zenoh.Session | Exception] = []

    def attempt() -> None:
        try:
            outcome.append(zenoh.open(zenoh.Config.from_json5(json.dumps(settings))))
        except Exception as error:  # handed to the caller's thread below
            outcome.append(error)

    # zenoh.open deaf to signals would wait in the main thread for a router that never comes.
    thread = threading.Thread(target=attempt, name="zenoh-open", daemon=True)
    foreign = os.environ.get(_RUNTIME)
    os.environ[_RUNTIME] = foreign or runtime
    try:
        thread.start()
        thread.join()
    finally:
        if foreign is None:  # not meant for the programs that this one starts
            os.environ.pop(_RUNTIME, None)
    if isinstance(outcome[0], Exception):
        raise DoraError(f"zenoh could not start: {outcome[0]}") from outcome[0]
    return hold(outcome[0])


def close_session(session: zenoh.Session) -> None:
    """Never takes longer than CLOSE_TIMEOUT, whatever the other side does."""

    def close() -> None:
        try:
            session.close()  # type: ignore[no-untyped-call]
        except zenoh.ZError as error:
            logger.warning("zenoh did not close cleanly: %s", error)

    thread = threading.Thread(target=close, name="zenoh-close", daemon=True)
    thread.start()
    thread.join(CLOSE_TIMEOUT)
    release(session)


_held: dict[int, Any] = {}  # zenoh's objects that are open, by id


def hold(item: T) -> T:
    """`item`, which a forked child must not destroy: to undeclare anything there hangs for ever."""
    _held[id(item)] = item
    return item


def release(item: Any) -> None:
    """`item` is closed, or about to be."""
    _held.pop(id(item), None)


def _leak_in_child() -> None:
    if _held:
        import ctypes  # only here: it is slow to load, and nodes rarely fork

        for item in _held.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


os.register_at_fork(after_in_child=_leak_in_child)


def direct(callback: Callable[[zenoh.Sample], None]) -> Any:
    """`callback` as zenoh's receiving thread calls it; it must be short and never block."""
    return zenoh.handlers.Callback(callback, indirect=False)


def is_put(sample: zenoh.Sample) -> bool:
    """Whether a liveliness sample tells that the token came (or else went)."""
    return sample.kind == zenoh.SampleKind.PUT


class ZenohLayer:
    """`socket` is the Unix socket of the machine's router. Blocks until it is reachable."""

    name = "zenoh"

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.session = open_session(client_settings(socket), NODE_RUNTIME)
        self._open: list[ZenohPublisher | ZenohSubscription] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<ZenohLayer at {self._socket}{', closed' if self._closed else ''}>"

    def publish(self, route: str) -> ZenohPublisher:
        publisher = ZenohPublisher(self.session, route)
        self._open.append(publisher)
        return publisher

    def subscribe(self, route: str, queue_size: int, queue_policy: str) -> ZenohSubscription:
        """`backpressure` does not reach a sender on another machine: the queue is enlarged to ten
        times its size, at least 100, as dora does (`inbox.capacity`)."""
        subscription = ZenohSubscription(self.session, route, capacity(queue_size, queue_policy))
        self._open.append(subscription)
        return subscription

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for item in self._open:
            item.shut()
        close_session(self.session)


class ZenohPublisher:
    def __init__(self, session: zenoh.Session, route: str) -> None:
        self._publisher = hold(
            session.declare_publisher(
                route, congestion_control=zenoh.CongestionControl.DROP, express=False
            )
        )
        self._closed = False

    def send(self, value: Any, metadata: Mapping[str, Any], timestamp: int) -> None:
        form, buffer = arrow.encode(value)
        if not isinstance(buffer, (bytes, bytearray)):
            buffer = bytes(memoryview(buffer))
        self._put(buffer, pack_data(form, metadata, timestamp))

    def finish(self) -> None:
        self._put(b"", pack_closed(time.time_ns()))

    def close(self) -> None:
        if not self._closed:
            self.shut()
            self._publisher.undeclare()  # type: ignore[no-untyped-call]

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        release(self._publisher)

    def _put(self, payload: bytes | bytearray, header: bytes) -> None:
        if not self._closed:
            self._publisher.put(payload, attachment=header)


class ZenohSubscription:
    def __init__(self, session: zenoh.Session, route: str, limit: int) -> None:
        self._route = route
        self._inbox: Inbox[tuple[Header, Any]] = Inbox(limit)
        self._closed = False
        self._subscriber = hold(session.declare_subscriber(route, direct(self._on_sample)))

    @property
    def dropped(self) -> int:
        return self._inbox.dropped

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> Message | None:
        """Messages that no sender of ours can have made are logged and passed over."""
        while (waiting := self._inbox.take()) is not None:
            header, payload = waiting
            if header.kind is Kind.CLOSED:
                return Message(Kind.CLOSED, header.timestamp, {}, _no_value)
            try:
                if header.form != arrow.IPC:
                    arrow.check(header.form, payload)
                metadata = header.read_metadata()
            except ValueError as error:
                logger.warning("a message of %s was thrown away: %s", self._route, error)
                continue
            return Message(Kind.DATA, header.timestamp, metadata, _Value(header.form, payload))
        return None

    def close(self) -> None:
        if not self._closed:
            self.shut()
            self._subscriber.undeclare()  # type: ignore[no-untyped-call]

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        release(self._subscriber)
        self._inbox.close()

    def _on_sample(self, sample: zenoh.Sample) -> None:
        attachment = sample.attachment
        try:
            header = unpack(b"" if attachment is None else attachment.to_bytes())
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return
        self._inbox.put(
            (header, sample.payload), header.kind, flush=header.flush, precious=header.precious
        )


class _Value:
    __slots__ = ("_form", "_payload")

    def __init__(self, form: str, payload: Any) -> None:
        self._form = form
        self._payload = payload

    def __call__(self) -> Any:
        return arrow.decode(self._form, self._payload.to_bytes())


def _no_value() -> None:
    return None
