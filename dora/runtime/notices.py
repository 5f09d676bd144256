"""What operators are told beside their messages: inputs that closed, nodes that died (>= 3.10).

An operator that has replicas goes by its own name here, and all of them are told. Main thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dora.event import Event, input_closed_event, input_recovered_event, node_failed_event
from dora.protocol.config import source_of
from dora.runtime.group import Group
from dora.runtime.operator import Operator
from dora.runtime.scheduler import Scheduler
from dora.runtime.task import Queue
from dora.runtime.wiring import MEMORY, Wiring


class Notices:
    """`operators` and `groups` are the crew's, and change."""

    def __init__(
        self,
        wiring: Wiring,
        operators: Mapping[str, Operator],
        groups: Mapping[str, Group],
        scheduler: Scheduler,
    ) -> None:
        self._wiring = wiring
        self._operators = operators
        self._groups = groups
        self._scheduler = scheduler

    def __repr__(self) -> str:
        return f"<Notices for {len(self._operators)} operators>"

    def close(self, operator_id: str, name: str) -> None:
        """Nothing more comes to this input: the operator is told, behind what waits."""
        operator = self._groups.get(operator_id) or self._operators[operator_id]
        if name in operator.closed or operator.state.over:
            return
        self.tell_closed(operator_id, name)
        self.note_closed(operator_id, name)

    def note_closed(self, operator_id: str, name: str) -> None:
        """The same where the operator has been told that it was silent."""
        group = self._groups.get(operator_id)
        if group is not None:
            group.close(name)
            return
        operator = self._operators[operator_id]
        operator.closed.add(name)
        operator.attention = True

    def tell_closed(self, operator_id: str, name: str) -> None:
        """The input is silent, maybe for a while only."""
        if operator_id in self._operators:
            self._operators[operator_id].attention = True
        self._tell(operator_id, name, input_closed_event(name), _of_input)

    def reopen(self, operator_id: str, name: str) -> None:
        """Something came to an input that was closed or silent."""
        group = self._groups.get(operator_id)
        if group is not None:
            group.reopen(name)
        else:
            self._operators[operator_id].closed.discard(name)
        self._tell(operator_id, name, input_recovered_event(name), _of_input)

    def tell_of_node(self, event: Event) -> None:
        """Another node has died: each operator that reads it is told once, behind what waits of
        it."""
        affected: dict[str, list[str]] = {}
        for (operator_id, name), wired in self._wiring.inputs.items():
            if wired.layer != MEMORY and wired.interval is None and source_of(wired) == event["id"]:
                affected.setdefault(operator_id, []).append(name)
        for operator_id, names in affected.items():
            told = Event(event)
            if event["type"] == "NODE_FAILED":
                told = node_failed_event(event["id"], event["value"]["error"], names)
            self._tell(operator_id, names[0], told, partial(_is_a, event["type"]))

    def _tell(
        self, operator_id: str, name: str, event: Event, replaces: Callable[[Event], bool]
    ) -> None:
        group = self._groups.get(operator_id)
        if group is not None:
            group.tell(name, event, replaces)
            return
        operator = self._operators[operator_id]
        if not operator.state.over:
            self._scheduler.tell(operator.task.queues[name], event, replaces)

    def hush(self, queue: Queue, silent: bool) -> None:
        """An edge of this runtime has carried nothing for too long; or has something again."""
        operator: Operator | Group = queue.task.owner
        if queue.input not in operator.closed:
            (self.tell_closed if silent else self.reopen)(operator.config.id, queue.input)


def _of_input(event: Event) -> bool:
    """Whether a notice is of the input itself, and not of the node that it reads."""
    return event["type"] in ("INPUT_CLOSED", "INPUT_RECOVERED")


def _is_a(kind: str, event: Event) -> bool:
    return bool(event["type"] == kind)
