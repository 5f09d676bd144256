"""Which replicas the operators of a runtime have: they come and go while it runs. Node (>= 3.10).

Main thread only. One that is to go is given nothing more, works off what it has, and gets its STOP.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

from dora.event import Event, stop_event
from dora.protocol.runtime import OperatorConfig
from dora.runtime.connections import Connections
from dora.runtime.group import Group
from dora.runtime.operator import Operator, State
from dora.runtime.task import RUNNING

logger = logging.getLogger("dora")


class Staff(Protocol):
    """Who makes and ends operators: the crew, as far as it is needed here."""

    connections: Connections

    def engage(self, group: Group, number: int) -> None:
        """One more replica of a running runtime."""

    def stop(self, operator: Operator, event: Event) -> None:
        """It gets the event, then as much as waits, and ends."""

    def end(self, operator: Operator, state: State = ...) -> None: ...

    def discharge(self, operator: Operator) -> None:
        """It has ended, and nothing is to be known of it any more."""

    def look(self, operator: Operator) -> None: ...


class Replicas:
    def __init__(self, groups: Mapping[str, Group], staff: Staff) -> None:
        self._groups = groups
        self._staff = staff
        self._moving: set[str] = set()  # groups that do not have the replicas that they should

    def __repr__(self) -> str:
        return f"<Replicas of {len(self._groups)} operators, {len(self._moving)} on the move>"

    def scale(self, counts: Mapping[str, int]) -> None:
        """So many replicas of these operators; of operators without replicas nothing is done."""
        for id, count in counts.items():
            group = self._groups.get(id)
            if group is not None and group.wanted != count:
                logger.info("operator %s: %d replicas instead of %d", id, count, group.wanted)
                group.wanted = count
                self._moving.add(id)

    def work(self) -> bool:
        """Brings what waits to those who are free; whether there was anything to do."""
        done = False
        for group in self._groups.values():
            if group.base in self._moving:
                done |= self._move(group)
            done |= group.give()
            if group.ended:
                group.ended = False
                for member in list(group.members.values()):
                    self._staff.look(member)
        return done

    def _move(self, group: Group) -> bool:
        """A step towards the number that is wanted."""
        done = False
        for number in range(1, group.wanted + 1):
            member = group.members.get(number)
            if member is None:
                self._staff.engage(group, number)
                done = True
            elif member.leaving and not member.stopping and not member.state.over:
                member.leaving = False
                self._staff.connections.redirect()
                done = True
        for member in _surplus(group):
            if not member.leaving:
                member.leaving = True
                group.take_back(member)
                self._staff.connections.redirect()
                done = True
            if member.state is State.BACKOFF:
                self._staff.end(member)
            elif member.state is State.RUNNING and not member.stopping and _idle(member):
                self._staff.stop(member, stop_event("MANUAL"))
                done = True
            if member.state.over:
                group.part(member)
                self._staff.discharge(member)
                done = True
        group.resize()
        if len(group.members) == group.wanted and not list(_surplus(group)):
            self._moving.discard(group.base)
        return done


def _surplus(group: Group) -> Iterator[Operator]:
    """The highest numbers go first."""
    for number, member in sorted(group.members.items(), reverse=True):
        if number > group.wanted:
            yield member


def _idle(operator: Operator) -> bool:
    return not (operator.task.depth or operator.task.off & RUNNING)


def first(group: Group) -> list[OperatorConfig]:
    """Those that it begins with."""
    return [group.named(number) for number in range(1, group.wanted + 1)]
