"""Receives the messages of one route from zenoh. Node (>= 3.10)."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import zenoh
import zenoh.ext

from dora import arrow
from dora.communication.base import Kind, Message
from dora.communication.gaps import Gaps
from dora.communication.header import Header, unpack
from dora.communication.inbox import Inbox
from dora.communication.order import Order, Step
from dora.communication.parts import Assembly
from dora.communication.zenoh.joined import Closings
from dora.communication.zenoh.session import direct, hold, release

logger = logging.getLogger("dora")

PATIENCE = 5.0  # s, until a question for what was missed counts as lost
PAUSE = 0.5  # s, before it is asked again: the link may be coming back

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
        self._order = Order[Received]()
        self._asked: dict[int, _Question] = {}  # by sender
        self._lock = threading.Lock()  # answers may end in another thread than messages come in
        self._closed = False
        self._subscriber: Any = hold(self._declare(session))

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
            if self._closings is not None:
                self._closings.undeclare()

    @property
    def closed(self) -> bool:
        return self._closed

    def shut(self) -> None:
        """As `close`, for when the whole session goes."""
        self._closed = True
        release(self._subscriber)
        with self._lock:
            for question in self._asked.values():
                if question.thread is not None:
                    question.thread.cancel()
            self._asked.clear()
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
        header, source = received[0], sample.source_info
        with self._lock:
            step = self._order.arrived(header.sender, header.number, received)
            if step.ask is not None and source is not None:
                of = source.source_id
                caches = f"{sample.key_expr}/@adv/pub/{of.zid}/{of.eid}/**"
                offset = source.source_sn - header.number  # zenoh has numbers of its own
                self._asked[header.sender] = _Question(caches, offset)
            self._hand_out(step)
            self._ask_after(0.0, header.sender, step)

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
        if not self._gaps.arrived(header.sender, header.number):
            return
        self._inbox.put(received, header.kind, flush=header.flush, precious=header.precious)

    def _hand_out(self, step: Step[Received]) -> None:
        for it in step.ready:
            self._put(it)
        if step.lost:
            logger.warning(
                "%d messages of %s are lost: its sender keeps the last %d, and they were older, or "
                "it could not be asked. Raise `cache` in its `output_qos`, or send less",
                step.lost,
                self._route,
                self._cache,
            )

    def _ask_after(self, pause: float, sender: int, step: Step[Received]) -> None:
        """In a thread of its own: zenoh holds locks while it hands over a message, and who asks
        it something then may wait for ever."""
        if step.ask is None:
            return
        thread = threading.Timer(pause, self._ask, (sender, step.ask))
        thread.daemon = True
        if question := self._asked.get(sender):
            question.thread = thread
        thread.start()

    def _ask(self, sender: int, first: int) -> None:
        """Asks the sender's cache for all from the number `first` on."""
        question = self._asked.get(sender)
        if self._closed:
            return
        if question is None:  # it did not say who it is: not one of ours
            self._answered(sender)
            return
        answers: Any = zenoh.handlers.Callback(
            self._on_answer, lambda: self._answered(sender), indirect=False
        )
        try:
            self._session.get(
                f"{question.caches}?_sn={first + question.offset}..",
                answers,
                consolidation=zenoh.ConsolidationMode.NONE,
                accept_replies=zenoh.ReplyKeyExpr.ANY,
                timeout=PATIENCE,
            )
        except zenoh.ZError as error:  # the session is closed, or about to be
            logger.warning("%s could not be asked for what was missed: %s", self._route, error)

    def _on_answer(self, reply: zenoh.Reply) -> None:
        if reply.ok is not None and (received := self._read(reply.ok)) is not None:
            header = received[0]
            with self._lock:
                self._order.told_again(header.sender, header.number, received)

    def _answered(self, sender: int) -> None:
        with self._lock:
            if self._closed:
                return
            step = self._order.answered(sender)
            self._hand_out(step)
            if step.ask is None:
                self._asked.pop(sender, None)
            self._ask_after(PAUSE, sender, step)

    def _has_closed(self, replica: int) -> bool:
        return self._closings is None or self._closings.closed(replica)


@dataclass
class _Question:
    """To the caches of one sender; `offset` leads from our numbers to zenoh's."""

    caches: str
    offset: int
    thread: threading.Timer | None = None


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
