"""One operator of a running runtime: what it is, and how far it is. Data; node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from dora.protocol.runtime import OperatorConfig
from dora.runtime.base import Instance, Send
from dora.runtime.sending import Sender
from dora.runtime.task import Task
from dora.runtime.worker import Worker
from dora.status import DoraStatus

if TYPE_CHECKING:
    from dora.runtime.group import Group

OnEvent = Callable[[Mapping[str, Any], Send], DoraStatus | Awaitable[DoraStatus]]

# around(operator, on_event): what is called instead, and calls it.
Around = Callable[[str, Callable[..., Any]], Callable[..., Any]]


class State(Enum):
    RUNNING = "running"
    BACKOFF = "backoff"  # it failed, and is started again after a pause
    ENDED = "ended"
    FAILED = "failed"  # and stays ended

    @property
    def over(self) -> bool:
        return self in (State.ENDED, State.FAILED)


class Operator:
    """Written by the host alone; one for each operator, of which there may be thousands."""

    __slots__ = (
        "allowance",
        "around",
        "attempts",
        "attention",
        "closable",
        "closed",
        "config",
        "direct",
        "endless",
        "error",
        "group",
        "instance",
        "leaving",
        "on_event",
        "replica",
        "restarts",
        "send",
        "sender",
        "since",
        "state",
        "stopping",
        "task",
        "worker",
    )

    def __init__(self, config: OperatorConfig, task: Task, sender: Sender) -> None:
        self.config = config
        self.task = task
        task.owner = self
        self.sender = sender
        self.send: Send = sender.send
        self.around: Around | None = None
        self.instance: Instance | None = None
        self.on_event: OnEvent = _not_there
        # The same with a step less, where the kind has that; then `settle` looks at its result.
        self.direct: Callable[..., Any] = _not_there
        self.worker: Worker | None = None
        self.state = State.BACKOFF
        self.since = 0.0  # monotonic; when the instance was made
        self.attempts = 0
        self.restarts = 0
        self.error: str | None = None  # of the last failure, one line
        # Whether it may end after a call: its inputs close, or the runtime stops.
        self.attention = False
        self.closed: set[str] = set()  # inputs that nothing will come from
        self.closable = 0  # inputs that can close
        self.endless = False  # an input that never closes keeps it
        self.stopping = False
        self.allowance = 0  # when stopping: how many calls it may still have
        self.group: Group | None = None  # the replicas that it is one of
        self.replica = 0  # its number there, from 1
        self.leaving = False  # it is given nothing more, and ends when it has done its work

    def __repr__(self) -> str:
        return f"<Operator {self.config.id}, {self.state.value}>"

    @property
    def base(self) -> str:
        """What the flow file calls it: a replica goes by the name of its operator."""
        return self.group.base if self.group is not None else self.config.id

    @property
    def done(self) -> bool:
        """Nothing can come any more, and nothing waits."""
        return not self.endless and len(self.closed) == self.closable and not self.task.depth

    def take(self, instance: Instance) -> None:
        """From now on this instance is called."""
        self.instance = instance
        self.on_event = instance.on_event
        self.direct = getattr(instance, "direct", instance.on_event)
        if self.around is not None:
            self.on_event = self.around(self.config.id, self.on_event)
            self.direct = self.around(self.config.id, self.direct)

    def settle(self, result: Any) -> Any:
        """A DoraStatus or an awaitable, of what `direct` returned. Raises OperatorError."""
        settle = getattr(self.instance, "settle", None)
        return result if settle is None else settle(result)

    def forget(self) -> None:
        """Lets go of the instance's method."""
        self.on_event = self.direct = _not_there


def _not_there(event: Mapping[str, Any], send: Send) -> DoraStatus:
    raise RuntimeError("this operator is not loaded")
