"""The machine's zenoh router: `python -m dora.communication.router`. Machine (>= 3.10).

Nodes of this machine are its clients through a Unix socket. Routers of other machines are dialled
at the addresses that the configuration names; nothing is discovered. It also tells the readers of
local nodes that died without a word (`departures`), and shows in who wants to read a node directly
(`direct.door`).
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dora.communication.base import Kind
from dora.communication.departures import Departures
from dora.communication.direct.door import Door
from dora.communication.header import pack_closed, pack_notice
from dora.communication.presence import Left, watch_departures, watch_end, watch_nodes
from dora.communication.zenoh import session as zenoh
from dora.errors import DoraError
from dora.protocol.dataflow import DOCUMENT, DataflowSummary
from dora.protocol.process import is_alive
from dora.protocol.router import ROUTER_CONFIG, RouterConfig
from dora.protocol.supervision import STOP, ControlPipe, notify_done, notify_ready

logger = logging.getLogger("dora.router")

# Several threads: one consumer that is slow to take its data must not hold up the others. Handing
# threads over, as nodes do, makes a router stand still when a link is cut.
ROUTER_RUNTIME = "(tx:(worker_threads:4),rx:(worker_threads:4),net:(worker_threads:2))"

# Until a message, or a part of a large one (`parts.SIZE`), is dropped because a link is full: long
# enough for links of 10 Mbit/s. A node waits longer for its router than that for others, or it
# would drop for all what only one of them cannot take.
WAIT, WAIT_FOR_FRAGMENTS = 50_000, 500_000  # microseconds

TICK = 0.5  # s between looks at who is gone
SOON = 0.02  # s; while a process may be about to end


def router_settings(config: RouterConfig) -> dict[str, Any]:
    """zenoh's configuration of this router. Pure.

    Raises ValueError if the configuration names half of a key pair, or links that it does not
    allow.
    """
    if bool(config.key) != bool(config.certificate):
        raise ValueError("a router needs both `key` and `certificate`, or neither")
    if config.key and not config.authorities:
        raise ValueError("a router with a key needs `authorities`: whom else should it trust?")
    protocol = "quic" if config.key else "tcp" if config.insecure else None
    if protocol is None and (config.listen or config.connect):
        raise ValueError("links between machines need keys, or `insecure`")
    listen = [f"unixsock-stream/{config.socket}"]
    if config.listen:
        listen.append(f"{protocol}/{config.listen}")
    link: dict[str, Any] = {
        "protocols": ["unixsock-stream", *([protocol] if protocol else [])],
        "tx": {
            "lease": zenoh.LEASE,
            "keep_alive": 4,
            "queue": zenoh.transmit_queue(WAIT, WAIT_FOR_FRAGMENTS),
        },
    }
    if config.key:
        link["tls"] = zenoh.mutual_tls(config.key, str(config.certificate), config.authorities)
    return {
        "mode": "router",
        "metadata": {"name": config.machine},
        "adminspace": {"enabled": True, "permissions": {"read": True, "write": False}},
        "listen": {"endpoints": listen},
        "connect": {
            "endpoints": [f"{protocol}/{at}" for _, at in sorted(config.connect.items())],
            "timeout_ms": -1,
            "exit_on_failure": False,
            "retry": {
                "period_init_ms": 250,
                "period_max_ms": 1000,
                "period_increase_factor": 2,
            },
        },
        "scouting": {
            "delay": 0,
            "multicast": {"enabled": False},
            "gossip": {"enabled": False},
        },
        "transport": {
            "unicast": {"open_timeout": 2000, "accept_timeout": 2000},
            "link": link,
            "shared_memory": {"enabled": False},
        },
    }


class Router:
    """Open from construction to `close`. Raises DoraError if it cannot listen."""

    def __init__(self, config: RouterConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        # Callbacks come from zenoh's threads; they are decided about in the caller's.
        self._changes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._waking = threading.Lock()
        self._departures = Departures(config.machine, is_alive)
        self._document = _Document(config.documents)
        self._session = zenoh.open_session(_listenable(config), ROUTER_RUNTIME)
        # What a node says last comes before its token goes: subscribed in this order, heard so.
        watch_departures(self._session, config.dataflow, self._on_left)
        watch_nodes(self._session, config.dataflow, self._on_change)
        watch_end(self._session, config.dataflow, lambda: self._note(_end))

    def tick(self) -> None:
        """Tells the readers of those who are gone; to be called when `fileno` is readable, and
        after `pause` seconds."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass  # nothing has changed
        while not self._changes.empty():
            self._changes.get()()
        dataflow, is_new = self._document.read()
        if is_new:
            self._departures.forget()
        if dataflow is None:
            return
        for word in self._departures.speak(self._clock(), dataflow):
            now = time.time_ns()
            if word.kind is Kind.CLOSED:
                header = pack_closed(now)
            else:
                header = pack_notice(word.kind, word.process, word.error, now)
            for route in (word.route, f"@word/{word.route}"):  # replicas hear of it alone
                self._session.put(f"{self._config.dataflow}/{route}", b"", attachment=header)

    def fileno(self) -> int:
        return self._wake

    def pause(self) -> float:
        return SOON if self._departures.undecided(self._clock()) else TICK

    def close(self) -> None:
        zenoh.close_session(self._session)
        with self._waking:
            os.close(self._wake)
            self._wake = -1
        Path(self._config.socket).unlink(missing_ok=True)
        Path(self._config.socket + ".lock").unlink(missing_ok=True)

    def _on_left(self, node: str, process: str, why: Left, error: str) -> None:
        self._note(lambda: self._departures.left(node, process, why, error))

    def _on_change(self, node: str, process: str, returns: int, there: bool) -> None:
        if there:
            self._note(lambda: self._departures.came(node, process, returns))
        else:
            now = self._clock()
            self._note(lambda: self._departures.went(node, process, now))

    def _note(self, change: Callable[[], None]) -> None:
        self._changes.put(change)
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)


class _Document:
    """`dataflow.json`, read again when it has changed (it is replaced by rename)."""

    def __init__(self, folder: str | None) -> None:
        self._path = Path(folder, DOCUMENT) if folder else None
        self._seen: tuple[int, int] | None = None
        self._dataflow: DataflowSummary | None = None

    def read(self) -> tuple[DataflowSummary | None, bool]:
        """The dataflow, and whether another one stood there last time.

        None if there is none, or if it is not readable: then nobody is spoken for.
        """
        if self._path is None:
            return None, False
        before = self._seen
        try:
            status = self._path.stat()
            self._seen = (status.st_ino, status.st_mtime_ns)
            if self._seen != before:
                self._dataflow = DataflowSummary.from_text(self._path.read_text())
        except (OSError, ValueError) as error:
            if self._dataflow is not None:
                logger.warning("%s: %s", self._path, error)
            self._dataflow = None
        return self._dataflow, before is not None and self._seen != before


def _end() -> None:
    notify_done()


def _listenable(config: RouterConfig) -> dict[str, Any]:
    """The settings, after a socket that a killed router left behind is out of the way."""
    settings = router_settings(config)
    Path(config.socket).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(config.socket).unlink(missing_ok=True)
    return settings


def main() -> int:
    """Runs until SIGTERM, SIGINT or the line `stop`. The exit status is 2 for a bad
    configuration, 1 if it could not listen."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    os.umask(0o077)  # the socket is the trust boundary on this machine
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the wake-up is what counts
    try:
        config = RouterConfig.from_text(os.environ.get(ROUTER_CONFIG, ""))
        door = Door(config.door, config.socket) if config.door else None
        router = Router(config)
    except ValueError as error:
        logger.error("%s", error)
        return 2
    except DoraError as error:
        logger.error("%s (listening on %s, %s)", error, config.socket, config.listen)
        if os.strerror(errno.EADDRINUSE) in str(error):
            logger.error(
                "%s was free when this was planned; somebody has taken it since. Deploy again: "
                "then the next free port is taken (who it is: ss -lunp)",
                config.listen,
            )
        return 1
    control = ControlPipe.from_environment()
    notify_ready()
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(router.fileno(), select.POLLIN)
    if door is not None:
        poll.register(door.fileno(), select.POLLIN)
    if control is not None:
        poll.register(control.fileno(), select.POLLIN)
    try:
        while True:
            ready = {fd for fd, _ in poll.poll(router.pause() * 1000)}
            if wake_read in ready or (control is not None and STOP in control.read_lines()):
                return 0
            router.tick()
            if door is not None:
                door.serve()
    finally:
        router.close()
        if door is not None:
            door.close()
        if control is not None:
            control.close()


if __name__ == "__main__":
    sys.exit(main())
