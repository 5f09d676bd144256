"""The machines while nodes are being given to them: what each has and has left. Laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from dora.dataflow.model import Node

AWAY = "is away"


class Host(Protocol):
    """What placement wants to know of a machine (`deploy.inventory.Machine`)."""

    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def cores(self) -> tuple[int, ...] | None: ...


class Bench:
    """Changes with each `assign`; everything else asks."""

    def __init__(self, machines: Sequence[Host], available: Mapping[str, int]) -> None:
        self._machines = {machine.id: machine for machine in machines}
        self._available = available
        self._nodes = dict.fromkeys(self._machines, 0)
        self._exclusive = dict.fromkeys(self._machines, 0)

    @property
    def ids(self) -> list[str]:
        """All machines, in the order of the inventory."""
        return list(self._machines)

    def answers(self, id: str) -> bool:
        return id in self._available

    def matching(self, labels: Iterable[tuple[str, str]]) -> list[str]:
        """The machines that have all labels, away or not."""
        wanted = list(labels)
        return [
            id
            for id, machine in self._machines.items()
            if all(machine.labels.get(key) == value for key, value in wanted)
        ]

    def load(self, id: str) -> float:
        """Nodes per usable core."""
        return self._nodes[id] / max(1, self._usable(id))

    def told(self, id: str) -> str:
        """The load in words."""
        nodes, cores = self._nodes[id], self._usable(id)
        return f"{_count(nodes, 'node')} on {_count(cores, 'core')}"

    def lacks(self, id: str, group: Sequence[Node]) -> list[str]:
        """Why a machine cannot take a group, as ends of sentences; empty if it can."""
        machine = self._machines[id]
        reasons: list[str] = []
        for key, value in dict.fromkeys(
            pair for node in group for pair in node.deploy.labels.items()
        ):
            if machine.labels.get(key) != value:
                has = f" (it has {machine.labels[key]})" if key in machine.labels else ""
                reasons.append(f"lacks the label {key}={value}{has}")
        if not self.answers(id):
            return [*reasons, AWAY]
        wanted = sum(node.deploy.cores or 0 for node in group)
        free = self._usable(id) - self._exclusive[id]
        if wanted > free:
            reasons.append(f"has {free} of the {_count(wanted, 'exclusive core')}")
        usable = machine.cores or range(self._available[id])
        missing = sorted({core for node in group for core in node.cpu_affinity} - set(usable))
        if missing:
            plural = "cores" if len(missing) > 1 else "core"
            reasons.append(f"has no {plural} {', '.join(map(str, missing))} for dataflows")
        return reasons

    def assign(self, id: str, group: Sequence[Node]) -> None:
        self._nodes[id] += len(group)
        self._exclusive[id] += sum(node.deploy.cores or 0 for node in group)

    def _usable(self, id: str) -> int:
        """Cores that dataflows may use; of a machine that is away, those of the inventory."""
        cores = self._machines[id].cores
        if id not in self._available:
            return len(cores or ())
        return min(len(cores), self._available[id]) if cores else self._available[id]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
