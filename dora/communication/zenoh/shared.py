"""Sends the messages of one route to replicas that share it, over zenoh. Node (>= 3.10).

A replica announces its lane by a liveliness token, `<dataflow>/@share/<node>/<output>/@/<lane>/
<terms>`, so that a sender need not know how many there are. It is sent to on `<dataflow>/@lane/
<lane>/<sender>`, and tells how far it has got on `<dataflow>/@told/<lane>/<sender>`.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import zenoh

from dora.communication.distribution import key_of
from dora.communication.inbox import BACKPRESSURE, capacity
from dora.communication.lane import PROBE, Given, Outbound, Told
from dora.communication.sharing import Send, Sharing
from dora.communication.zenoh.session import direct, hold, is_put, release

logger = logging.getLogger("dora")

LINGER = 5.0  # s that the end of a route waits for replicas to have all
PARTING = 1.0  # s that a sender which leaves waits for the same
_LOOK = 0.1  # s between looks at whether something has not come


@dataclass(frozen=True)
class Terms:
    """How a replica wants to share, as it announces it."""

    group: str
    member: str
    key: str
    queue_size: int
    queue_policy: str

    def to_chunk(self) -> str:
        """As one part of a key expression."""
        return json.dumps(asdict(self)).encode().hex()

    @classmethod
    def from_chunk(cls, chunk: str) -> Terms:
        """Raises ValueError."""
        try:
            terms = cls(**json.loads(bytes.fromhex(chunk)))
            capacity(terms.queue_size, terms.queue_policy)
        except TypeError as error:
            raise ValueError(f"no terms: {error}") from error
        return terms


def token(route: str, lane: str, terms: Terms) -> str:
    dataflow, rest = route.split("/", 1)
    return f"{dataflow}/@share/{rest}/@/{lane}/{terms.to_chunk()}"


class SharedPublisher:
    """`replica`: which one the node is, if it is one; `route` then has the node's name. `is_over`:
    whether nobody is to wait for replicas any more."""

    def __init__(
        self, session: zenoh.Session, route: str, replica: int, is_over: Callable[[], bool]
    ) -> None:
        self._is_over = is_over
        self._session: Any = session
        self._route = route
        self._sender = sender = secrets.token_hex(8)
        self._replica = replica
        self._dataflow = route.split("/", 1)[0]
        self._groups: dict[str, Sharing] = {}
        self._lanes: dict[str, tuple[Sharing, Outbound]] = {}
        self._names: dict[Outbound, str] = {}
        self._state = threading.Condition()  # never held while something is sent
        self._sending = threading.Lock()  # so that what is decided first is sent first
        self._closed = False
        liveliness = session.liveliness()
        rest = route.split("/", 1)[1]
        self._watches: list[Any] = [
            hold(
                session.declare_subscriber(
                    f"{self._dataflow}/@told/*/{sender}", direct(self._on_told)
                )
            ),
            hold(
                liveliness.declare_subscriber(
                    f"{self._dataflow}/@share/{rest}/@/*/*", direct(self._on_token), history=True
                )
            ),
        ]
        self._thread = threading.Thread(target=self._work, name="dora-share", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<SharedPublisher of {self._route}: {list(self._groups.values())}>"

    def send(self, header: bytes, payload: bytes | bytearray, metadata: Mapping[str, Any]) -> None:
        """Waits while all replicas of a group that asked for backpressure have enough. Once it is
        asked to leave, what there is no room for is dropped, as `put` does."""
        with self._state:
            for sharing in self._groups.values():
                while sharing.full and not (self._closed or self._is_over()):
                    self._state.wait(_LOOK)
                sharing.put((header, payload), key_of(metadata, sharing.key))
        self._pump()

    def tell(self, header: bytes) -> None:
        """All replicas, behind what they get."""
        self._linger(LINGER)
        with self._state:
            for sharing in self._groups.values():
                sharing.tell((header, b""), time.monotonic())
        self._pump()

    def close(self) -> None:
        """May be called twice."""
        if self._closed:
            return
        self._linger(PARTING)
        with self._state:
            self._closed = True
            self._state.notify_all()
        for watch in self._watches:
            release(watch)
        if self._thread is not threading.current_thread():
            self._thread.join(PARTING)

    def undeclare(self) -> None:
        """After `close`, where the session goes on."""
        for watch in self._watches:
            watch.undeclare()

    def _linger(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._state:
            while not all(sharing.quiet for sharing in self._groups.values()):
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    logger.warning("%s: not all that was sent has come to a replica", self._route)
                    return
                self._state.wait(min(left, _LOOK))

    def _work(self) -> None:
        """Sends what became possible, and asks for what may be lost."""
        while True:
            with self._state:
                if self._closed:
                    return
                idle = all(sharing.idle for sharing in self._groups.values())
                self._state.wait(None if idle else _LOOK)
            self._pump(probe=True)

    def _pump(self, *, probe: bool = False) -> None:
        with self._sending:
            while True:
                with self._state:
                    if self._closed:
                        return
                    now = time.monotonic()
                    sends: list[tuple[str, Send]] = []
                    for sharing in self._groups.values():
                        send = sharing.next(now)
                        found = [send] if send is not None else []
                        if probe and send is None:
                            found = sharing.probes(now)
                        sends += [(self._names[it.lane], it) for it in found]
                    if any(it.number != PROBE for _, it in sends):
                        self._state.notify_all()  # room for who waits
                for name, send in sends:
                    self._put(name, send)
                if not any(it.number != PROBE for _, it in sends):
                    return

    def _put(self, lane: str, send: Send) -> None:
        item = send.item
        end = item is not None and item.end
        header, payload = (b"", b"") if item is None or item.content is None else item.content
        given = Given(send.number, end, send.lane.dropped, self._replica)
        self._session.put(
            f"{self._dataflow}/@lane/{lane}/{self._sender}",
            bytes(payload) if isinstance(payload, memoryview) else payload,
            attachment=given.pack() + header,
            congestion_control=zenoh.CongestionControl.DROP,
        )

    def _on_token(self, sample: Any) -> None:
        lane, chunk = str(sample.key_expr).rsplit("/", 2)[1:]
        with self._state:
            if is_put(sample):
                if lane in self._lanes:
                    return
                try:
                    terms = Terms.from_chunk(chunk)
                except ValueError as error:
                    logger.warning("%s: a replica is not understood: %s", self._route, error)
                    return
                sharing = self._groups.get(terms.group)
                if sharing is None:
                    limit = capacity(terms.queue_size, terms.queue_policy)
                    blocking = terms.queue_policy == BACKPRESSURE
                    sharing = self._groups[terms.group] = Sharing(
                        terms.key, terms.queue_size if blocking else limit, blocking
                    )
                outbound = Outbound(terms.member, max(terms.queue_size, 1))
                sharing.add(outbound)
                self._lanes[lane] = sharing, outbound
                self._names[outbound] = lane
            elif lane in self._lanes:
                sharing, outbound = self._lanes.pop(lane)
                sharing.remove(outbound)
                self._names.pop(outbound)
            self._state.notify_all()

    def _on_told(self, sample: Any) -> None:
        lane = str(sample.key_expr).rsplit("/", 2)[1]
        try:
            told = Told.unpack(sample.payload.to_bytes())
        except ValueError as error:
            logger.warning("%s: a replica is not understood: %s", self._route, error)
            return
        with self._state:
            if lane not in self._lanes:
                return
            sharing, outbound = self._lanes[lane]
            now = time.monotonic()
            sharing.repeat(outbound, outbound.told(told, now))
            if told.leaving:
                sharing.drain(outbound, now)
            self._state.notify_all()
