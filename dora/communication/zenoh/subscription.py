"""Receives the messages of one route from zenoh. Node (>= 3.10)."""

from __future__ import annotations

import logging
from typing import Any

import zenoh

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.gaps import Gaps
from dora.communication.header import Header, unpack
from dora.communication.inbox import Inbox
from dora.communication.parts import Assembly
from dora.communication.zenoh.joined import Closings
from dora.communication.zenoh.recovery import Recovery
from dora.communication.zenoh.session import direct, hold, release

logger = logging.getLogger("dora")

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
        self._closed = False
        self._recovery: Recovery[Received] | None = None
        if cache:
            self._recovery = Recovery(
                session,
                route,
                cache,
                read=self._read,
                hand_out=self._put,
                lost=self._lost,
                group=self._replica,
            )
        self._subscriber: Any = hold(session.declare_subscriber(route, direct(self._on_sample)))

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
            for watch in (self._recovery, self._closings):
                if watch is not None:
                    watch.undeclare()

    @property
    def closed(self) -> bool:
        return self._closed

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        release(self._subscriber)
        if self._recovery is not None:
            self._recovery.close()
        if self._closings is not None:
            self._closings.close()
        self._inbox.close()

    def _on_sample(self, sample: zenoh.Sample) -> None:
        received = self._read(sample)
        if received is None:
            return
        if self._recovery is None:
            self._put(received)
            return
        if received[0].sender:
            self._recovery.arrived(sample, received)
            return
        if received[0].kind in (Kind.FAILED, Kind.CLOSED):  # a router speaks for the sender
            self._recovery.ended(str(sample.key_expr))
        self._put(received)

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
        return (*message, self._replica(str(sample.key_expr)))

    def _replica(self, key: str) -> int:
        return 0 if self._closings is None else _replica(key)

    def _put(self, received: Received) -> None:
        header = received[0]
        if not self._gaps.arrived(header.sender, header.number):
            return
        self._inbox.put(received, header.kind, flush=header.flush, precious=header.precious)

    def _lost(self, count: int) -> None:
        logger.warning(
            "%d messages of %s are lost: its sender keeps the last %d, and they were older, or "
            "it is not there any more. Raise `cache` in its `output_qos`, or send less",
            count,
            self._route,
            self._cache,
        )

    def _has_closed(self, replica: int) -> bool:
        return self._closings is None or self._closings.closed(replica)


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
