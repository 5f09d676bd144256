"""Fills the gaps of a reliable route: asks its senders' caches. Node (>= 3.10).

What is asked when, and what is given up, `order` decides. Of zenoh this uses what its advanced
publishers offer: a cache that answers on `<route>/@adv/pub/<zid>/<eid>/_` by `_sn` and `_max`, a
token of the same name, and there, too, a heartbeat with the number of the last message. Its
advanced subscriber is not used: that asks for all that there is whenever a link comes back, which
keeps a weak link down, and it gives up when its question is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import zenoh
import zenoh.ext

from dora.communication.order import Order, Step
from dora.communication.zenoh.session import direct, hold, is_put, release

logger = logging.getLogger("dora")

TIMEOUT = 5.0  # s, until a question counts as lost
FIRST = 1  # our number of the message that zenoh numbers 0

T = TypeVar("T")


class Recovery(Generic[T]):
    """Of all senders of `route`. `read` makes a message of a sample, or None of one that is none;
    `hand_out` gets messages in their order, `lost` how many were given up. `group` tells by a key
    which replica sends on it. All are called from zenoh's threads, one at a time."""

    def __init__(
        self,
        session: zenoh.Session,
        route: str,
        cache: int,
        *,
        read: Callable[[zenoh.Sample], T | None],
        hand_out: Callable[[T], None],
        lost: Callable[[int], None],
        group: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._route = route
        self._order = Order[T](cache)
        self._read = read
        self._hand_out = hand_out
        self._lost = lost
        self._group = group
        self._clock = clock
        self._caches: dict[str, str] = {}  # sender -> where it is asked
        self._threads: set[threading.Timer] = set()  # that ask soon
        # Answers may end in another thread than messages come in.
        self._lock = threading.RLock()
        self._closed = False
        at = f"{route}/@adv/pub/**"
        self._beats: Any = hold(session.declare_subscriber(at, direct(self._on_heartbeat)))
        self._tokens: Any = hold(
            session.liveliness().declare_subscriber(at, direct(self._on_token), history=True)
        )

    def __repr__(self) -> str:
        return f"<Recovery of {self._route}: {self._order}>"

    def arrived(self, sample: zenoh.Sample, message: T) -> None:
        source, key = sample.source_info, str(sample.key_expr)
        if source is None:  # not one of ours
            self._hand_out(message)
            return
        of = source.source_id
        sender = f"{of.zid}/{of.eid}"
        with self._lock:
            self._know(sender, key)
            number = source.source_sn + FIRST
            self._do(sender, self._order.arrived(sender, number, message, self._group(key)))

    def ended(self, key: str) -> None:
        """Who sends on that key is not there any more."""
        with self._lock:
            self._do("", self._order.ended(self._group(key)))

    def close(self) -> None:
        """As the whole session goes. May be called twice."""
        with self._lock:
            self._closed = True
            for thread in list(self._threads):
                thread.cancel()
            self._threads.clear()
        release(self._beats)
        release(self._tokens)

    def undeclare(self) -> None:
        """After `close`, when the session stays."""
        self._beats.undeclare()
        self._tokens.undeclare()

    def _on_heartbeat(self, sample: zenoh.Sample) -> None:
        key = str(sample.key_expr)
        sender = _sender(key)
        try:
            number = zenoh.ext.z_deserialize(zenoh.ext.UInt32, sample.payload) + FIRST
        except zenoh.ext.ZDeserializeError as error:
            logger.warning("%s: what no sender of ours says was passed over: %s", key, error)
            return
        with self._lock:
            self._know(sender, key.rsplit("/@adv/pub/", 1)[0])
            self._do(sender, self._order.sent(sender, number, self._group(key)))

    def _on_token(self, sample: zenoh.Sample) -> None:
        """A sender that is new here is asked for its last message: which number does it have?"""
        key = str(sample.key_expr)
        sender = _sender(key)
        with self._lock:
            if is_put(sample) and sender not in self._caches:
                self._start(0.0, lambda: self._get(f"{key}?_max=1", self._on_last))

    def _on_last(self, reply: zenoh.Reply) -> None:
        if reply.ok is None or (source := reply.ok.source_info) is None:
            return
        of, key = source.source_id, str(reply.ok.key_expr)
        sender = f"{of.zid}/{of.eid}"
        with self._lock:
            self._know(sender, key)
            number = source.source_sn + FIRST
            self._do(sender, self._order.sent(sender, number, self._group(key)))

    def _know(self, sender: str, key: str) -> None:
        if sender not in self._caches:
            for name in [it for it in self._caches if it not in self._order]:
                del self._caches[name]  # of the past
            self._caches[sender] = f"{key}/@adv/pub/{sender}/**"

    def _do(self, sender: str, step: Step[T]) -> None:
        for it in step.ready:
            self._hand_out(it)
        if step.lost:
            self._lost(step.lost)
        if step.ask is not None:
            first, last = step.ask.first - FIRST, step.ask.last - FIRST
            about = f"{self._caches[sender]}?_sn={first}..{last}"
            self._start(
                step.ask.pause,
                lambda: self._get(
                    about,
                    lambda reply: self._on_answer(sender, reply),
                    lambda: self._answered(sender),
                ),
            )

    def _start(self, pause: float, work: Callable[[], None]) -> None:
        """In a thread of its own: zenoh holds locks while it hands over a message, and who asks
        it something then may wait for ever."""

        def run() -> None:
            self._threads.discard(thread)
            work()

        thread = threading.Timer(pause, run)
        thread.daemon = True
        if not self._closed:
            self._threads.add(thread)
            thread.start()

    def _get(
        self,
        about: str,
        on_reply: Callable[[zenoh.Reply], None],
        end: Callable[[], None] | None = None,
    ) -> None:
        if self._closed:
            return
        try:
            self._session.get(
                about,
                zenoh.handlers.Callback(on_reply, end, indirect=False),
                consolidation=zenoh.ConsolidationMode.NONE,
                accept_replies=zenoh.ReplyKeyExpr.ANY,
                timeout=TIMEOUT,
            )
        except zenoh.ZError as error:  # the session is closed, or about to be
            logger.warning("%s could not be asked for what was missed: %s", self._route, error)

    def _on_answer(self, sender: str, reply: zenoh.Reply) -> None:
        sample = reply.ok
        if sample is None or (source := sample.source_info) is None:
            return
        message = self._read(sample)
        if message is not None:
            size = len(sample.payload)
            with self._lock:
                number = source.source_sn + FIRST
                self._do(sender, self._order.told_again(sender, number, message, size))

    def _answered(self, sender: str) -> None:
        with self._lock:
            if not self._closed:
                self._do(sender, self._order.answered(sender, self._clock()))


def _sender(key: str) -> str:
    """From `<route>/@adv/pub/<zid>/<eid>/_`."""
    return "/".join(key.rsplit("/@adv/pub/", 1)[1].split("/")[:2])
