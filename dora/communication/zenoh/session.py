"""Sessions of zenoh: their settings, opening and closing them. Node, router (>= 3.10).

- Callbacks run in zenoh's own receiving thread (`direct`): they only put the message into an Inbox.
  zenoh's default, a Python thread for each callback, keeps a process from ending.
- A session must be closed before the interpreter goes down, or a callback that arrives meanwhile
  aborts the process.
- zenoh's own shared memory is off: it would leave files in /dev/shm behind a killed process.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import zenoh

from dora.errors import DoraError

logger = logging.getLogger("dora")

# Few threads; receiving and sending (which keeps the link alive) have one each, so that a program
# that holds the interpreter for seconds, and thereby the receiving thread, is not taken for dead.
NODE_RUNTIME = (
    "(rx:(worker_threads:1),tx:(worker_threads:1),"
    "acc:(handover:app),net:(handover:app),app:(worker_threads:1))"
)

WAIT = 750_000  # microseconds; more than a router waits for others (`router.WAIT_FOR_FRAGMENTS`)
LEASE = 2000  # ms without a sign of life until a link counts as dead
CLOSE_TIMEOUT = 3.0  # s; closing waits for what is under way to a router that may be hung

_RUNTIME = "ZENOH_RUNTIME"
_LOOK = 0.5  # s

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
            "link": {"tx": {"lease": LEASE, "keep_alive": 4, "queue": transmit_queue(WAIT, WAIT)}},
            "shared_memory": {"enabled": False},
        },
    }


def mutual_tls(key: str, certificate: str, authorities: str) -> dict[str, Any]:
    """Whom a link trusts and how it shows itself: paths, PEM text."""
    return {
        "root_ca_certificate_base64": base64.b64encode(authorities.encode()).decode(),
        "enable_mtls": True,
        "listen_private_key": key,
        "listen_certificate": certificate,
        "connect_private_key": key,
        "connect_certificate": certificate,
        # Addresses may change (DHCP); the authorities are one for each machine, so that a
        # certificate under one of them is as good as a name.
        "verify_name_on_connect": False,
    }


def transmit_queue(wait_before_drop: int, wait_for_fragments: int) -> dict[str, Any]:
    """The queue of a link, and how long it may hold up a sender, in microseconds, when it is full.

    A link that stays full then drops at once, until it has room again. Each priority has a queue
    of its own, with room for 16 batches of 64 KiB; with zenoh's two, bursts lose some.
    """
    return {
        "size": {
            "real_time": 16,
            "interactive_high": 16,
            "data": 16,
            "data_low": 16,
        },
        "congestion_control": {
            "drop": {
                "wait_before_drop": wait_before_drop,
                "max_wait_before_drop_fragments": wait_for_fragments,
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
        while thread.is_alive():
            thread.join(_LOOK)  # Python hears of a signal that came to another thread only now
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


def direct(callback: Callable[[Any], None]) -> Any:
    """`callback` as zenoh's receiving thread calls it; it must be short and never block."""
    return zenoh.handlers.Callback(callback, indirect=False)


def is_put(sample: zenoh.Sample) -> bool:
    """Whether a liveliness sample tells that the token came (or else went)."""
    return sample.kind == zenoh.SampleKind.PUT
