"""Which machine runs which node, and why. Data only; laptop only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dora.protocol.config import replica_name


@dataclass(frozen=True)
class Assignment:
    """`reason` is a short sentence for people; `moved` tells from where it had to go, and why."""

    machine: str
    reason: str
    moved: str = ""


@dataclass(frozen=True)
class Placement(Mapping[str, Assignment]):
    """Node -> its assignment, in the order of the flow file."""

    assignments: Mapping[str, Assignment] = field(default_factory=dict)
    # Of nodes with replicas: the machine of each, and which nodes' may be on several machines.
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scattered: frozenset[str] = frozenset()

    def __getitem__(self, node: str) -> Assignment:
        return self.assignments[node]

    def __iter__(self) -> Iterator[str]:
        return iter(self.assignments)

    def __len__(self) -> int:
        return len(self.assignments)

    def of_unit(self, unit: str) -> Assignment | None:
        """Of a node, or of one of its replicas by its own name."""
        if unit in self.assignments:
            return self.assignments[unit]
        node, _, number = unit.rpartition(".")
        machines = self.replicas.get(node, ())
        if not number.isdigit() or not 1 <= int(number) <= len(machines):
            return None
        first, machine = self.assignments[node], machines[int(number) - 1]
        if machine == first.machine:
            return first
        return Assignment(machine, f"{node} is spread over machines")

    @property
    def machines(self) -> dict[str, str]:
        """Node -> machine."""
        return {node: assignment.machine for node, assignment in self.assignments.items()}

    @property
    def parts(self) -> dict[str, str]:
        """As `machines`, but with each replica, by its own name, of nodes whose are scattered."""
        found: dict[str, str] = {}
        for node, machine in self.machines.items():
            if node in self.scattered:
                for number, each in enumerate(self.replicas[node], start=1):
                    found[replica_name(node, number)] = each
            else:
                found[node] = machine
        return found

    def on(self, machine: str) -> tuple[str, ...]:
        """The nodes of one machine."""
        return tuple(
            node for node, assignment in self.assignments.items() if assignment.machine == machine
        )
