"""Receives the messages of one route from zenoh. Node (>= 3.10)."""

from __future__ import annotations

import logging
import threading
from typing import Any

import zenoh
import zenoh.ext

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.beginnings import Beginnings
from dora.communication.gaps import Gaps
from dora.communication.header import Header, unpack
from dora.communication.inbox import Inbox
from dora.communication.parts import Assembly
from dora.communication.zenoh.joined import Closings
from dora.communication.zenoh.session import direct, hold, release

logger = logging.getLogger("dora")

PATIENCE = 10.0  # s, for what a sender sent before; its messages wait that long at most

Received = tuple[Header, list[Any], int]  # with the number of a replica


class ZenohSubscription:
    """With `closings` it is joined: of all replicas of the route's node."""

    def __init__(
        self,
        session: zenoh.Session,
        route: str,
        limit: int,
        cache: int,
        closings: Closings | None = None,
    ) -> None:
        if closings is not None:
            dataflow, node, output = route.split("/", 2)
            route = f"{dataflow}/{node}.$*/{output}"
        self._route = route
        self._closings = closings
        self._cache = cache
        self._inbox: Inbox[Received] = Inbox(limit)
        self._assembly = Assembly()
        self._gaps = Gaps()
        self._session = session
        self._beginnings = Beginnings[Received]()
        self._order = threading.Lock()  # answers may end in another thread than messages come in
        self._closed = False
        self._subscriber: Any = hold(self._declare(session))
        if cache:
            # Only so can zenoh tell of what not even the sender has any more.
            self._listener = hold(self._subscriber.sample_miss_listener(direct(self._on_miss)))

    @property
    def dropped(self) -> int:
        """Also what was lost on the way, as far as a later message has shown it."""
        return self._inbox.dropped + self._gaps.lost

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> Message | None:
        """Messages that no sender of ours can have made are logged and passed over."""
        while (waiting := self._inbox.take()) is not None:
            header, payloads, replica = waiting
            try:
                metadata = header.read_metadata()
                if replica:
                    if header.kind is Kind.CLOSED and not self._has_closed(replica):
                        continue
                    metadata["replica"] = replica
                if header.kind is not Kind.DATA:
                    return Message(header.kind, header.timestamp, metadata, no_value)
                if header.form != arrow.IPC:
                    arrow.check_size(header.form, sum(map(len, payloads)))
            except ValueError as error:
                logger.warning("a message of %s was thrown away: %s", self._route, error)
                continue
            return Message(Kind.DATA, header.timestamp, metadata, Value(header.form, payloads))
        return None

    def close(self) -> None:
        if not self._closed:
            self.shut()
            self._subscriber.undeclare()

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        release(self._subscriber)
        if self._cache:
            release(self._listener)
        if self._closings is not None:
            self._closings.close()
        self._inbox.close()

    def _declare(self, session: zenoh.Session) -> Any:
        if not self._cache:
            return session.declare_subscriber(self._route, direct(self._on_sample))
        return zenoh.ext.declare_advanced_subscriber(
            session,
            self._route,
            direct(self._on_sample),
            history=zenoh.ext.HistoryConfig(detect_late_publishers=True, max_samples=self._cache),
            recovery=zenoh.ext.RecoveryConfig(periodic_queries=None, heartbeat=True),
        )

    def _on_sample(self, sample: zenoh.Sample) -> None:
        received = self._read(sample)
        if received is None:
            return
        if not self._cache:
            self._put(received)
            return
        header = received[0]
        with self._order:
            ready, ask = self._beginnings.arrived(header.sender, header.number, received)
            for it in ready:
                self._put(it)
        if ask:
            self._ask(sample, header.sender)

    def _read(self, sample: zenoh.Sample) -> Received | None:
        """None for a part of a message that is not whole yet, and for what no sender of ours can
        have made, which is logged."""
        attachment = sample.attachment
        try:
            header = unpack(b"" if attachment is None else attachment.to_bytes())
        except ValueError as error:
            logger.warning("a message of %s was thrown away: %s", self._route, error)
            return None
        message = self._assembly.add(header, sample.payload)
        if message is None:
            return None
        return (*message, 0 if self._closings is None else _replica(str(sample.key_expr)))

    def _put(self, received: Received) -> None:
        header = received[0]
        self._gaps.arrived(header.sender, header.number)
        self._inbox.put(received, header.kind, flush=header.flush, precious=header.precious)

    def _ask(self, sample: zenoh.Sample, sender: int) -> None:
        """For what the sender keeps of what it sent before `sample`."""
        source = sample.source_info
        if source is None or not source.source_sn:
            self._answered(sender)
            return
        of = source.source_id
        try:
            self._session.get(
                f"{sample.key_expr}/@adv/pub/{of.zid}/{of.eid}/**?_sn=0..{source.source_sn - 1}",
                zenoh.handlers.Callback(
                    self._on_answer, lambda: self._answered(sender), indirect=False
                ),
                consolidation=zenoh.ConsolidationMode.NONE,
                accept_replies=zenoh.ReplyKeyExpr.ANY,
                timeout=PATIENCE,
            )
        except zenoh.ZError as error:  # the session is being closed
            logger.warning("%s could not be asked for what it sent before: %s", self._route, error)
            self._answered(sender)

    def _on_answer(self, reply: zenoh.Reply) -> None:
        received = None if reply.ok is None else self._read(reply.ok)
        if received is not None:
            with self._order:
                self._beginnings.told_again(received[0].sender, received[0].number, received)

    def _answered(self, sender: int) -> None:
        with self._order:
            for it in self._beginnings.answered(sender):
                self._put(it)

    def _has_closed(self, replica: int) -> bool:
        return self._closings is None or self._closings.closed(replica)

    def _on_miss(self, miss: zenoh.ext.Miss) -> None:
        logger.warning(
            "%d messages of %s are lost: its sender keeps the last %d, and they were older. "
            "Raise `cache` in its `output_qos`, or send less",
            miss.nb,
            self._route,
            self._cache,
        )


def _replica(key: str) -> int:
    """From `<dataflow>/<node>.<replica>/<output>`."""
    index = key.split("/", 2)[1].rpartition(".")[2]
    return int(index) if index.isdigit() else 0


class Value:
    """Gives the Arrow array of what came, decoded when it is called."""

    __slots__ = ("_form", "_payloads")

    def __init__(self, form: str, payloads: list[Any]) -> None:
        self._form = form
        self._payloads = payloads

    def __call__(self) -> Any:
        whole = [payload.to_bytes() for payload in self._payloads]
        return arrow.decode(self._form, whole[0] if len(whole) == 1 else b"".join(whole))


def no_value() -> None:
    return None
