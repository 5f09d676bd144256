"""What a runtime knows of an operator, whatever it is written in. Node (>= 3.10).

A loader for each kind makes instances; each kind passes `tests/dora/runtime/suite.py`. The host
calls an instance from one thread at a time, and never two calls of one instance at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from dora.protocol.runtime import OperatorConfig
from dora.status import DoraStatus

# send(output, data, metadata): as `Node.send_output`, for the outputs of this operator alone.
Send = Callable[[str, Any, "Mapping[str, Any] | None"], None]


class Context(Protocol):
    """What the runtime offers to one operator, beside its events. All calls are synchronous."""

    def save_state(self, key: str, value: bytes) -> None:
        """Durable when it returns. The operator alone gets it back, in `restore_state`, when it or
        its process starts anew. Raises StateError when a size limit is passed."""

    def kvs_write(self, key: str, value: bytes) -> None:
        """Durable when it returns; shared by operators and nodes of the deployment on this
        machine. Raises StateError when a size limit is passed."""

    def kvs_read(self, key: str) -> bytes | None:
        """The last value written, or None."""

    def log(self, level: str, message: str) -> None:
        """A line in the node's log, with the operator's name."""


class Instance(Protocol):
    """One operator, made and ready to be called."""

    def restore_state(self, state: Mapping[str, bytes]) -> None:
        """What it saved before; called once, before the first event, and only if there is any."""

    def on_event(self, event: Mapping[str, Any], send: Send) -> DoraStatus | Awaitable[DoraStatus]:
        """One event, a dict as a node gets it. Raises whatever the operator raises; OperatorError
        for a result that is no status. An awaitable is awaited by the host."""

    def close(self) -> None:
        """Drops the operator and gives everything back. May be called twice."""


class Loader(Protocol):
    """Makes operators of one kind."""

    def load(self, operator: OperatorConfig, context: Context) -> Instance:
        """A new instance, its code loaded if this is the first one. Raises OperatorError, naming
        file and operator, for code that cannot be loaded or has no operator in it; exceptions of
        the operator's own constructor pass through."""
