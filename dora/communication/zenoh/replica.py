"""Receives, as one of several replicas, its part of a route's messages over zenoh. Node (>= 3.10).

See `shared` for the sender's side.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import Any

import zenoh

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.distribution import Share
from dora.communication.header import Header, unpack
from dora.communication.inbox import Inbox
from dora.communication.lane import PROBE, Given, Inbound
from dora.communication.zenoh.joined import Closings
from dora.communication.zenoh.session import direct, hold, release
from dora.communication.zenoh.shared import Terms, token
from dora.communication.zenoh.subscription import Value, no_value

logger = logging.getLogger("dora")

_MOST = 1 << 30  # the senders keep to what was asked for
_SILENT = 2.0  # s after which a sender that does not answer counts as gone


class ReplicaSubscription:
    """Announced once constructed. `closings`: of a route whose node has replicas itself."""

    def __init__(
        self,
        session: zenoh.Session,
        route: str,
        share: Share,
        queue_size: int,
        queue_policy: str,
        closings: Closings | None = None,
    ) -> None:
        self._session: Any = session
        self._route = route
        self._dataflow = route.split("/", 1)[0]
        self._lane = secrets.token_hex(8)
        self._inbox: Inbox[tuple[str, Given, Header | None, Any]] = Inbox(_MOST)
        self._senders: dict[str, Inbound] = {}
        self._lock = threading.Lock()
        self._at: tuple[str, int] | None = None
        self._waiting = 0  # messages in the inbox
        self._draining: float | None = None  # since when
        self._closings = closings
        self._closed = False
        terms = Terms(share.group, share.member, share.key, queue_size, queue_policy)
        self._subscribers: list[Any] = [
            hold(
                session.declare_subscriber(
                    f"{self._dataflow}/@lane/{self._lane}/*", direct(self._on_sample)
                )
            ),
            # What routers tell of senders that are gone.
            hold(
                session.declare_subscriber(
                    f"{self._dataflow}/@word/{_any_replica(route, closings)}",
                    direct(self._on_word),
                )
            ),
        ]
        self._token: Any = hold(session.liveliness().declare_token(token(route, self._lane, terms)))

    def __repr__(self) -> str:
        return f"<ReplicaSubscription of {self._route}, {self._senders}>"

    @property
    def dropped(self) -> int:
        """As its senders have counted, for all replicas together."""
        return sum(it.dropped for it in list(self._senders.values()))

    @property
    def waiting(self) -> int:
        return self._waiting

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> Message | None:
        """Messages that no sender of ours can have made are logged and passed over."""
        while (waiting := self._inbox.take()) is not None:
            sender, given, header, payload = waiting
            if given.number != PROBE:
                with self._lock:
                    self._waiting -= 1
                    inbound = self._senders[sender]
                    inbound.taken = given.number
                    if header is None or header.kind is not Kind.DATA:
                        inbound.finished = given.number
                        inbound.ended = inbound.ended or given.end
                    else:
                        self._at = sender, given.number
                self._tell(sender)
            if header is None:
                continue
            try:
                metadata = header.read_metadata()
                if header.kind is Kind.DATA and header.form != arrow.IPC:
                    arrow.check_size(header.form, len(payload))
            except ValueError as error:
                logger.warning("a message of %s was thrown away: %s", self._route, error)
                continue
            if header.kind is Kind.DATA:
                if given.replica:
                    metadata["replica"] = given.replica
                value = Value(header.form, [payload])
                return Message(Kind.DATA, header.timestamp, metadata, value)
            closings = self._closings
            if header.kind is Kind.CLOSED and closings and not closings.closed(given.replica):
                continue
            return Message(header.kind, header.timestamp, metadata, no_value)
        return None

    def done(self) -> None:
        """The program has done with all that it has received."""
        if self._at is None:
            return
        with self._lock:
            sender, number = self._at
            self._at = None
            self._senders[sender].finished = number
            waiting = self._waiting
        if not waiting:  # else the next one tells
            self._tell(sender)

    def drain(self) -> None:
        """Takes what it was given, and is given no more; see `drained`."""
        if self._draining is None:
            self._draining = time.monotonic()
            for sender in list(self._senders):
                self._tell(sender)

    @property
    def drained(self) -> bool:
        """After `drain`: whether nothing more comes."""
        if self._closed:
            return True
        silent = time.monotonic() - (self._draining or 0.0) > _SILENT
        with self._lock:
            return not self._waiting and (silent or all(it.ended for it in self._senders.values()))

    def close(self) -> None:
        if not self._closed:
            subscribers, token = self._subscribers, self._token
            self.shut()
            token.undeclare()
            for subscriber in subscribers:
                subscriber.undeclare()
            if self._closings is not None:
                self._closings.undeclare()

    @property
    def closed(self) -> bool:
        return self._closed

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        for item in (*self._subscribers, self._token):
            release(item)
        if self._closings is not None:
            self._closings.close()
        self._inbox.close()

    def _tell(self, sender: str) -> None:
        if self._closed:
            return
        with self._lock:
            told = self._senders[sender].told(self._draining is not None)
        self._session.put(f"{self._dataflow}/@told/{self._lane}/{sender}", told.pack())

    def _on_sample(self, sample: Any) -> None:
        sender = str(sample.key_expr).rsplit("/", 1)[1]
        attachment = sample.attachment
        try:
            given, rest = Given.unpack(b"" if attachment is None else attachment.to_bytes())
            header = None if given.end or given.number == PROBE else unpack(rest)
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return
        with self._lock:
            new = sender not in self._senders
            inbound = self._senders.setdefault(sender, Inbound())
            counts = inbound.arrived(given)
            self._waiting += counts
        if counts:
            self._inbox.put((sender, given, header, sample.payload))
        if not counts or (new and self._draining is not None):
            self._tell(sender)

    def _on_word(self, sample: Any) -> None:
        attachment = sample.attachment
        name = str(sample.key_expr).split("/")[2]
        try:
            header = unpack(b"" if attachment is None else attachment.to_bytes())
        except ValueError as error:
            logger.warning("a word of %s was thrown away: %s", self._route, error)
            return
        if header.kind is not Kind.DATA:
            index = name.rpartition(".")[2]
            replica = int(index) if self._closings is not None and index.isdigit() else 0
            self._inbox.put(("", Given(PROBE, replica=replica), header, b""), header.kind)


def _any_replica(route: str, closings: Closings | None) -> str:
    """The route, without its dataflow; of all replicas of a node that has some."""
    _, node, output = route.split("/", 2)
    return f"{node}.$*/{output}" if closings is not None else f"{node}/{output}"
