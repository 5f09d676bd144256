"""Who is there: liveliness tokens of nodes, and why they left. Node, router (>= 3.10).

Below `<dataflow>/@node/<node>/<process>_<returns>` each node keeps a token, which vanishes with its
process or its link, and tells from when on it comes back (see `protocol.comeback`). On
`<dataflow>/@left/<node>/<process>` it says why it leaves, if it can, and on `<dataflow>/@end` that
the whole dataflow has done its work, which routers tell. A chunk that begins with @ is matched by
no wildcard, so these never mix with the dataflow's values.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

from dora.communication.zenoh import session as zenoh
from dora.protocol.comeback import ALWAYS
from dora.protocol.process import identity


class Left(Enum):
    """Why a node left."""

    FINISHED = "finished"  # nothing more will come: its readers' inputs close
    STOPPED = "stopped"  # it was asked to; whoever asked knows what comes next
    FAILED = "failed"  # whether it comes back tells its token


class Presence:
    """One node's own token."""

    def __init__(self, session: Any, dataflow: str, node: str, returns: int = ALWAYS) -> None:
        self._session = session
        self._dataflow = dataflow
        self._node = node
        self._process = identity()
        self._returns = returns
        self._token: Any = None

    def announce(self) -> None:
        """From now on others see this node; its subscriptions should be declared before."""
        key = f"{self._dataflow}/@node/{self._node}/{self._process}_{self._returns}"
        self._token = zenoh.hold(self._session.liveliness().declare_token(key))

    def leave(self, why: Left, error: str = "") -> None:
        """Says why, then takes the token back, in this order for everybody who listens."""
        self._session.put(
            f"{self._dataflow}/@left/{self._node}/{self._process}", f"{why.value}\n{error}"
        )
        if self._token is not None:
            zenoh.release(self._token)
            self._token.undeclare()
            self._token = None

    def attendance(self) -> Attendance:
        return Attendance(self._session, self._dataflow)


class Attendance:
    """Which nodes are there, while this is open. `fileno` becomes readable when that changes."""

    def __init__(self, session: Any, dataflow: str) -> None:
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._processes: dict[str, set[str]] = {}
        self._watch = watch_nodes(session, dataflow, self._on_change)

    def __enter__(self) -> Attendance:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.undeclare()
        with self._lock:
            os.close(self._wake)
            self._wake = -1

    def fileno(self) -> int:
        return self._wake

    def present(self) -> frozenset[str]:
        """The nodes that are there now; makes `fileno` silent until the next change."""
        with self._lock:
            try:
                os.eventfd_read(self._wake)
            except BlockingIOError:
                pass  # nothing has changed
            return frozenset(node for node, processes in self._processes.items() if processes)

    def _on_change(self, node: str, process: str, _: int, there: bool) -> None:
        with self._lock:
            if self._wake < 0:
                return
            processes = self._processes.setdefault(node, set())
            (processes.add if there else processes.discard)(process)
            os.eventfd_write(self._wake, 1)


def watch_nodes(session: Any, dataflow: str, changed: Callable[[str, str, int, bool], None]) -> Any:
    """Calls `changed(node, process, returns, there)` for all that are there and for each change.

    From zenoh's thread: `changed` must be short. Ends when the result is undeclared.
    """

    def on_sample(sample: Any) -> None:
        node, token = str(sample.key_expr).rsplit("/", 2)[1:]
        process, _, returns = token.partition("_")
        known = returns.removeprefix("-").isdigit()
        changed(node, process, int(returns) if known else ALWAYS, zenoh.is_put(sample))

    return session.liveliness().declare_subscriber(
        f"{dataflow}/@node/*/*", zenoh.direct(on_sample), history=True
    )


def watch_departures(
    session: Any, dataflow: str, left: Callable[[str, str, Left, str], None]
) -> Any:
    """Calls `left(node, process, why, error)` for each node that says why it leaves, and of what
    it failed. As `watch_nodes`."""

    def on_sample(sample: Any) -> None:
        node, process = str(sample.key_expr).rsplit("/", 2)[1:]
        try:
            text, _, error = sample.payload.to_string().partition("\n")
            why = Left(text)
        except ValueError:
            return  # from another version; the token tells that it went
        left(node, process, why, error)

    return session.declare_subscriber(f"{dataflow}/@left/*/*", zenoh.direct(on_sample))


def tell_end(session: Any, dataflow: str) -> None:
    """Tells the routers of all machines that the dataflow is to end."""
    session.put(f"{dataflow}/@end", b"")


def watch_end(session: Any, dataflow: str, ended: Callable[[], None]) -> Any:
    """Calls `ended()` when somebody says that the dataflow is to end. As `watch_nodes`."""
    return session.declare_subscriber(f"{dataflow}/@end", zenoh.direct(lambda _: ended()))
