"""Keeps one subscription connected to its producer, in the reactor's thread. Node (>= 3.10)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from dora.communication.header import WITHOUT_A_WORD
from dora.communication.shm.address import dial
from dora.communication.shm.connection import Connection
from dora.communication.shm.endings import Ending
from dora.communication.shm.handshake import Drain, Leave, Subscribe, peer_of, send_word
from dora.communication.shm.reactor import Reactor
from dora.communication.shm.record import FAILED, RESTARTED
from dora.communication.shm.subscription import ShmSubscription
from dora.communication.shm.table import Table, create_table
from dora.protocol.comeback import comes_back

logger = logging.getLogger("dora")

SOON = 0.02  # s until the next try, growing to
LATER = 0.25
GRACE = 1.0  # s for a new process of a node that died, before its outputs count as closed


class Dialer:
    """`node`: who reads, as the producer is told. `ending`: whether and how the route of a producer
    that is not there has ended before; None if that cannot be known."""

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        subscription: ShmSubscription,
        node: str,
        ending: Callable[[], Ending | None] | None,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._subscription = subscription
        self._node = node
        self._ending = ending
        self._looking = False
        self._connection: Connection | None = None
        self._delay = SOON
        self._closed = False

    def __repr__(self) -> str:
        return f"<Dialer of {self._path}, {self._connection or 'not connected'}>"

    def connect(self) -> None:
        """Tries, and tries again until it is connected or closed."""
        if self._closed or self._subscription.draining or self._connection is not None:
            return
        if self._ending is not None and not self._looking:
            self._looking = True
            self._reactor.later(self._delay, self._look_for_ending)
        try:
            sock = dial(self._path)
        except OSError:  # nobody there yet, or too many at once
            self._again()
            return
        uid = peer_of(sock)[1]
        if uid not in (os.geteuid(), 0):
            sock.close()
            logger.warning("%s belongs to user %d: not connected", self._path, uid)
            self._again()
            return
        table = create_table()
        try:
            connection = Connection(self._subscription.new_epoch(), sock, Table(table))
        except OSError:
            os.close(table)
            sock.close()
            self._again()
            return
        # Before the producer hears of it: its first record may be here before it has answered.
        self._subscription.add(connection)
        try:
            send_word(sock, self._request(connection.epoch), self._fds(table))
        except OSError:  # it went again
            self._subscription.retire(connection)
            sock.close()
            self._again()
            return
        finally:
            os.close(table)
        self._connection = connection
        self._reactor.watch(sock.fileno(), self._on_word)

    def drain(self) -> None:
        """Says that nothing more is wanted than what was given."""
        connection = self._connection
        if connection is not None and not self._closed:
            try:
                send_word(connection.socket, Drain())
            except OSError:
                pass  # gone already

    def close(self) -> None:
        """Says so, unless nobody is there. Values that were received stay the consumer's."""
        if self._closed:
            return
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reactor.forget(connection.socket.fileno())
            try:
                send_word(connection.socket, Leave())
            except OSError:
                pass  # gone already
        self._subscription.give_back()

    def _request(self, epoch: int) -> Subscribe:
        subscription = self._subscription
        return Subscribe(
            route=subscription.route,
            epoch=epoch,
            queue_size=subscription.queue_size,
            queue_policy=subscription.queue_policy,
            node=self._node,
            group=subscription.share.group if subscription.share else "",
            key=subscription.share.key if subscription.share else "",
        )

    def _fds(self, table: int) -> tuple[int, int, int, int]:
        subscription = self._subscription
        return subscription.writer, subscription.reader, table, subscription.credit

    def _on_word(self) -> None:
        connection = self._connection
        if connection is not None and not connection.hear():
            self._lost(connection)

    def _lost(self, connection: Connection) -> None:
        self._connection = None
        self._reactor.forget(connection.socket.fileno())
        connection.lease.hang_up()
        self._subscription.retire(connection)
        if connection.arena is None:
            self._again()
            return
        self._delay = SOON
        self._looking = False
        self._tell(connection)
        self.connect()

    def _tell(self, connection: Connection) -> None:
        """The consumer of its producer's death, behind all that came before it."""
        parting = connection.parting
        if parting is not None and parting.why != "failed":
            return  # it finished, or whoever stopped it knows what comes next
        error = parting.error if parting is not None else WITHOUT_A_WORD
        if comes_back(connection.returns):
            self._subscription.say(RESTARTED, connection.process, error)
        elif parting is not None:
            self._fail(connection.process, error)
        else:
            self._looking = True  # what is noted down would be the same news
            self._reactor.later(GRACE, lambda: self._end_unless_back(connection.process))

    def _look_for_ending(self) -> None:
        """While nobody answers: who connects may wait in the queue of a socket held for later."""
        connection = self._connection
        if self._closed or (connection is not None and connection.arena is not None):
            self._looking = False
        elif self._ending is not None and (ending := self._ending()) is not None:
            # `_looking` stays: once is enough
            if ending.killed:
                self._reactor.later(GRACE, lambda: self._end_unless_back(ending.process))
            else:
                self._subscription.say_closed()
        else:
            self._reactor.later(LATER, self._look_for_ending)

    def _end_unless_back(self, process: str) -> None:
        """The node died without a word, and nobody starts it again: the route has ended."""
        connection = self._connection
        if not self._closed and (connection is None or connection.arena is None):
            self._fail(process, WITHOUT_A_WORD)

    def _fail(self, process: str, error: str) -> None:
        self._subscription.say(FAILED, process, error)
        self._subscription.say_closed()

    def _again(self) -> None:
        self._reactor.later(self._delay, self.connect)
        self._delay = min(self._delay * 1.5, LATER)
